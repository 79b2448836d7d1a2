"""
Archives that someone made to do harm: a corpus, by families, each archive with its name.

`tarfile` writes only what is sound, so headers are put together here byte by byte.
"""

import bz2
import gzip
import lzma
import struct
import zlib
from collections.abc import Iterator

from tests.support.archives import archive_bytes, directory, file, hardlink, symlink

BLOCK_BYTES = 512
END = bytes(2 * BLOCK_BYTES)
FIELDS = {"mode": (100, 8), "uid": (108, 8), "size": (124, 12), "mtime": (136, 12)}
NUMBERS = {
    "negative": b"-1",
    "negative after a space": b" -17",
    "plus": b"+1",
    "hexadecimal": b"0x10",
    "underscore": b"1_0",
    "letters": b"abc",
    "octal nine": b"9",
    "largest": b"7" * 12,
    "largest in base 256": b"\x80" + b"\xff" * 11,
    "negative in base 256": b"\xff" * 12,
    "half in base 256": b"\x80" + bytes(3) + b"\x01" + bytes(7),
    "no ASCII": "\u0663".encode(),
    "nothing": b"",
    "point": b"1.5",
}
PAX_RECORDS = {
    "no length": b" path=a\n",
    "length of nothing": b"0 path=a\n",
    "length of one": b"1 path=a\n",
    "length too short": b"5 path=a\n",
    "length too long": b"99 path=a\n",
    "length of many digits": b"1" * 30_000,
    "length with a sign": b"-10 path=a\n",
    "length in other digits": "\u0661\u0660 path=a\n".encode(),
    "no equals sign": b"8 patha\n",
    "no key": b"5 =a\n",
    "no newline": b"9 path=a ",
    "never a space": b"x" * 1000,
    "size negative": b"11 size=-1\n",
    "size of many digits": b"1009 size=" + b"9" * 998 + b"\n",
    "size of letters": b"12 size=abc\n",
    "size as in base 256": b"12 size=\x80\x01\x01\n",
    "path of zeros": b"11 path=\0\0\n",
    "path is empty": b"8 path=\n",
    "path climbs": b"16 path=../evil\n",
    "link climbs": b"20 linkpath=../evil\n",
    "sparse 0.0": b"23 GNU.sparse.offset=0\n",
    "sparse 0.1": b"26 GNU.sparse.map=0,1,2,3\n",
    "sparse 1.0": b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n",
    "charset": b"21 hdrcharset=BINARY\n",
    "no UTF-8": b"12 path=\xff\xfe\xfd\n",
}


def header(
    name: bytes = b"a",
    *,
    kind: bytes = b"0",
    size: bytes = b"0",
    link: bytes = b"",
    fields: dict[str, bytes] | None = None,
) -> bytes:
    """A header with these bytes in its fields, and the right checksum."""
    block = bytearray(BLOCK_BYTES)
    block[: len(name[:100])] = name[:100]
    block[156:157] = kind
    block[157 : 157 + len(link[:100])] = link[:100]
    block[257:265] = b"ustar\x0000"
    for field, value in {"mode": b"644", "size": size, **(fields or {})}.items():
        start, length = FIELDS[field]
        block[start : start + length] = value[:length].ljust(length, b"\0")
    block[148:156] = b"        "
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block)


def content(data: bytes) -> bytes:
    """A content, filled up to whole blocks."""
    return data + bytes(-len(data) % BLOCK_BYTES)


def extension(kind: bytes, data: bytes) -> bytes:
    """An extension header with its content."""
    return header(b"ext", kind=kind, size=f"{len(data):o}".encode()) + content(data)


def corpus() -> Iterator[tuple[str, bytes]]:
    """Each archive with its name."""
    yield from _numbers()
    yield from _types()
    yield from _extensions()
    yield from _compressions()
    yield from _links()
    yield from _names()
    yield from _cut()


def _numbers() -> Iterator[tuple[str, bytes]]:
    for field in FIELDS:
        for name, number in NUMBERS.items():
            damaged = header(fields={field: number})
            yield f"number {field} {name}", damaged + header(b"b") + END


def _types() -> Iterator[tuple[str, bytes]]:
    for kind in range(256):
        head = header(kind=bytes([kind]), size=b"1000", link=b"b")
        yield f"type {kind}", head + content(b"1" * 512) + header(b"b") + END


def _extensions() -> Iterator[tuple[str, bytes]]:
    for name, records in PAX_RECORDS.items():
        for kind in (b"x", b"g", b"X"):
            yield f"pax {kind.decode()} {name}", extension(kind, records) + header() + END
    yield "pax 2000 of 60 KB", b"".join(_pax_each(2000, 60_000)) + END
    yield "pax 300 in a row", extension(b"x", b"13 mtime=1.0\n") * 300 + header() + END
    yield "names 1000 in a row", extension(b"L", b"name\0") * 1000 + header() + END
    yield "name of 100 MB that is not there", header(kind=b"L", size=b"575360400") + END
    yield "name without an entry", extension(b"L", b"name\0") + END
    yield "name of zeros", extension(b"L", bytes(1000)) + header() + END
    yield "name of 900 KB", extension(b"L", b"n" * 900_000) + header() + END
    yield "link of 900 KB", extension(b"K", b"n" * 900_000) + header(kind=b"2") + END
    yield "sparse without a map", header(kind=b"S", size=b"77777777777") + END
    sparse = bytearray(header(kind=b"S"))
    sparse[482] = 1  # a map goes on in the next block
    yield "sparse map without an end", bytes(sparse) + (b"\1" * BLOCK_BYTES) * 2000 + END
    one_zero = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"
    yield (
        "sparse 1.0 without a newline",
        extension(b"x", one_zero) + header(size=b"40000000") + content(b"1" * 8 * 1024**2) + END,
    )


def _pax_each(count: int, size: int) -> Iterator[bytes]:
    value = b"v" * size
    for number in range(count):
        record = b" comment=" + value + b"\n"
        length = len(record) + 5
        yield extension(b"x", f"{length}".encode() + record) + header(f"f{number}".encode())


def _compressions() -> Iterator[tuple[str, bytes]]:
    sound = archive_bytes([file("a", b"a" * 600)])
    packed = gzip.compress(sound)
    yield "bzip2", bz2.compress(sound)
    yield "bzip2 in bzip2", bz2.compress(bz2.compress(sound))
    yield "bzip2 of nothing", bz2.compress(b"")
    yield "bzip2 cut", bz2.compress(sound)[:-9]
    yield "xz", lzma.compress(sound)
    yield "xz cut", lzma.compress(sound)[:-9]
    yield "lzma", lzma.compress(sound, format=lzma.FORMAT_ALONE)
    yield "zstd", b"\x28\xb5\x2f\xfd" + bytes(100)
    yield "zip", b"PK\x03\x04" + bytes(1000)
    yield "gzip in gzip", gzip.compress(packed)
    yield "gzip of zeros", gzip.compress(bytes(64 * 1024**2))
    yield "gzip with zeros behind", gzip.compress(sound + bytes(120 * 1024**2))
    zeros = archive_bytes([file("z", bytes(60 * 1024**2))])
    yield "gzip of a file of zeros", gzip.compress(zeros)
    yield "gzip, 100,000 members of nothing", gzip.compress(b"") * 100_000
    yield "gzip, a member for each byte", b"".join(gzip.compress(bytes([b])) for b in sound)
    yield "gzip with a name without end", b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * 3_000_000
    yield "gzip with an extra field", b"\x1f\x8b\x08\x04" + bytes(6) + b"\xff\xff" + bytes(70_000)
    yield "gzip of another method", b"\x1f\x8b\x07\x00" + bytes(100)
    yield "gzip with reserved flags", b"\x1f\x8b\x08\xe0" + bytes(100)
    yield "gzip with garbage behind", packed + b"garbage"
    yield "gzip with half a member behind", packed + packed[:12]
    yield "gzip with a wrong checksum", packed[:-8] + b"\0\0\0\0" + packed[-4:]
    yield "gzip with a wrong length", packed[:-4] + b"\0\0\0\0"
    yield "gzip without an end", packed[:10] + zlib.compress(sound)[2:-4]
    stored = b"".join(b"\0" + struct.pack("<HH", 0, 0xFFFF) for _ in range(200_000))
    yield "gzip of a million empty blocks", packed[:10] + stored * 5


def _links() -> Iterator[tuple[str, bytes]]:
    chain = [hardlink(f"h{number}", f"h{number - 1}") for number in range(1, 10_000)]
    yield "hard links, 10,000 in a chain", archive_bytes([file("h0"), *chain])
    yield "hard links, the chain backwards", archive_bytes([*reversed(chain), file("h0")])
    yield "hard links in a circle", archive_bytes([hardlink("a", "b"), hardlink("b", "a")])
    yield "hard link to itself", archive_bytes([hardlink("a", "a")])
    yield "links in a circle", archive_bytes([symlink("a", "b/x"), symlink("b", "a/y")])
    yield "link to itself", archive_bytes([symlink("a", "a/a/a/a")])
    yield "link to the root", archive_bytes([symlink("a/b/c", "../../..")])
    out = [
        directory("d/e"),
        symlink("s", "d/e"),
        symlink("d/e/up", "../.."),
        symlink("x", "s/up/.."),
    ]
    yield "links that leave together", archive_bytes(out)
    doubling = [symlink(f"l{n}", f"l{n - 1}/l{n - 1}") for n in range(1, 60)]
    yield "links that double", archive_bytes([directory("l0"), *doubling])
    long = [symlink(f"l{n}", "/".join([f"l{n - 1}", *["x"] * 2000])) for n in range(1, 2000)]
    yield "links of 2,000 parts each", archive_bytes(long)
    yield "link of nothing but slashes", archive_bytes([symlink("a", "/" * 4000)])
    yield "link of points", archive_bytes([symlink("a", "./" * 2000)])


def _names() -> Iterator[tuple[str, bytes]]:
    deep = [file("/".join(["d"] * 2000 + [str(number)])) for number in range(500)]
    yield "500 names of 2,000 parts", archive_bytes(deep)
    allowed = [file("/".join([*["d" * 19] * 199, f"{n}"])) for n in range(3000)]
    yield "3,000 names of 200 parts", archive_bytes(allowed)
    spread = [file("/".join([f"{n}" + "d" * 15] + ["d" * 18] * 198)) for n in range(2000)]
    yield "2,000 directories of 200 parts", archive_bytes(spread)
    many = [file("d/" * 100 + f"{n:0200}", b"") for n in range(9000)]
    yield "names of 4 MB", archive_bytes(many)
    yield "a part of 256 bytes", archive_bytes([file("n" * 256)])
    yield "a name of slashes", archive_bytes([file("/" * 5000)])
    yield "a name of points", archive_bytes([file("./" * 2047 + "a")])
    yield "one name, 20,000 times", archive_bytes([file("a", b"")] * 20_000)
    turns = [file("a", b""), directory("a")] * 5000
    yield "a file and a directory in turns", archive_bytes(turns)
    for number, name in enumerate((b"..", b"a/..", b"/..", b"../a", b"a/../../b", b".", b"/", b"")):
        for kind in (b"0", b"5", b"2", b"1"):
            yield f"name {number} of type {kind.decode()}", header(name, kind=kind, link=b"b") + END


def _cut() -> Iterator[tuple[str, bytes]]:
    sound = archive_bytes([directory("d"), file("d/a", b"a" * 600)])[: 4 * BLOCK_BYTES + 1024]
    for length in range(0, 4 * BLOCK_BYTES, 128):
        yield f"cut at {length}", sound[:length]
    for position in range(0, BLOCK_BYTES, 16):
        damaged = bytearray(sound)
        damaged[position] ^= 0x55
        yield f"damaged at {position}", bytes(damaged)
    yield "no end", archive_bytes([file("a")])[: 2 * BLOCK_BYTES]
    yield "an end and 1 MiB of ones", archive_bytes([file("a")]) + b"1" * 1024**2
    yield "nothing but zeros", bytes(1024**2)
