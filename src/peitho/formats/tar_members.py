"""
The members of a tar archive, one after the other, as their headers say (POSIX.1-2001, GNU tar).

The standard library's `tarfile` trusts its input: it keeps each member and each extension header,
follows sparse maps, and takes numbers of any length.  This reader does one pass over a stream, in
time linear in its bytes, and holds one header at a time.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import IO, Final

from peitho.errors import InvalidArgument

BLOCK_BYTES: Final = 512
# Long names and PAX records; Go's archive/tar (1.26) takes as much at most.
EXTENSION_BYTES: Final = 1024 * 1024
# One member has a long name, a long link and a PAX header at most; a few more do no harm.
_EXTENSIONS_IN_A_ROW: Final = 8
_COPY_BYTES: Final = 256 * 1024

FILE: Final = b"0"
HARD_LINK: Final = b"1"
SYMBOLIC_LINK: Final = b"2"
DIRECTORY: Final = b"5"
FIFO: Final = b"6"
_OLD_FILE: Final = b"\0"
_CONTIGUOUS_FILE: Final = b"7"
_WITHOUT_CONTENT: Final = (HARD_LINK, SYMBOLIC_LINK, b"3", b"4", DIRECTORY, FIFO)
_LONG_NAME: Final = b"L"
_LONG_LINK: Final = b"K"
_PAX: Final = (b"x", b"X")
_GLOBAL_PAX: Final = b"g"
_EXTENSIONS: Final = (_LONG_NAME, _LONG_LINK, *_PAX, _GLOBAL_PAX)
SPARSE: Final = b"S"

_OCTAL = re.compile(rb"[ \0]*([0-7]*)[ \0]*")
_PAX_LENGTH_CHARACTERS = 11
_PAX_SIZE = re.compile(rb"[0-9]{1,19}")


@dataclass(frozen=True, slots=True)
class Member:
    """One member: `type` is its type flag, `offset` where its content begins in the stream."""

    name: str
    type: bytes
    mode: int
    size: int
    link: str
    offset: int


class Content:
    """The content of a member; it can be read until the next member is asked for."""

    def __init__(self, stream: "_Stream", size: int) -> None:
        self._stream = stream
        self._left = size

    def read(self, size: int = -1) -> bytes:
        """Read so many bytes, or all that is left. Raises InvalidArgument if the archive is cut."""
        wanted = self._left if size < 0 else min(size, self._left)
        data = self._stream.exactly(wanted)
        self._left -= len(data)
        return data

    def skip(self) -> None:
        """Read what is left, and forget it."""
        while self.read(_COPY_BYTES):
            pass


def members(stream: IO[bytes]) -> Iterator[tuple[Member, Content]]:
    """
    Yield each member with its content, up to the block of zeros that ends the archive.

    Raises InvalidArgument for an archive that is cut or damaged.
    """
    source = _Stream(stream)
    while member := _next(source):
        content = Content(source, member.size)
        yield member, content
        content.skip()
        source.exactly(-member.size % BLOCK_BYTES)


class _Stream:
    """A stream that counts what was read."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.position = 0

    def exactly(self, size: int) -> bytes:
        """Read so many bytes. Raises InvalidArgument if there are fewer."""
        chunks = []
        left = size
        while left > 0:
            chunk = self._stream.read(left)
            if not chunk:
                raise InvalidArgument("not a whole tar archive: it is cut")
            chunks.append(chunk)
            left -= len(chunk)
        self.position += size
        return b"".join(chunks)


def _next(source: _Stream) -> Member | None:
    """Return the next member, with what its extension headers say; None at the end."""
    name = link = None
    size: int | None = None
    sparse = False
    for _ in range(_EXTENSIONS_IN_A_ROW + 1):
        block = source.exactly(BLOCK_BYTES)
        if not any(block):
            return None
        member = _parse(block, source.position)
        if member.type not in _EXTENSIONS:
            return _with_extensions(member, name, link, size, sparse=sparse)
        data = _extension(source, member)
        if member.type == _LONG_NAME:
            name = _text(data)
        elif member.type == _LONG_LINK:
            link = _text(data)
        else:
            records = _pax(data)
            sparse = sparse or any(key.startswith(b"GNU.sparse.") for key in records)
            if member.type == _GLOBAL_PAX:
                _refuse_what_counts(records, sparse=sparse)
                continue
            name = _decoded(records[b"path"]) if b"path" in records else name
            link = _decoded(records[b"linkpath"]) if b"linkpath" in records else link
            size = _pax_size(records[b"size"]) if b"size" in records else size
    raise InvalidArgument("not a whole tar archive: too many headers without an entry")


def _parse(block: bytes, position: int) -> Member:
    checksum = _number(block[148:156], "checksum")
    # Some old writers summed signed bytes; what is behind ASCII counts 256 less then.
    unsigned = sum(block[:148]) + 8 * ord(" ") + sum(block[156:])
    if checksum != unsigned:
        high = sum(byte > 127 for byte in block[:148] + block[156:])  # noqa: PLR2004  signed bytes
        if checksum != unsigned - 256 * high:
            raise InvalidArgument("not a whole tar archive: a header is damaged")
    name, kind = _field(block[:100]), block[156:157]
    if block[257:263] == b"ustar\0" and block[345]:
        name = _field(block[345:500]) + b"/" + name
    if kind == _OLD_FILE and name.endswith(b"/"):
        kind = DIRECTORY
    elif kind in (_OLD_FILE, _CONTIGUOUS_FILE):
        kind = FILE
    return Member(
        name=_decoded(name),
        type=kind,
        mode=_number(block[100:108], "mode"),
        size=0 if kind in _WITHOUT_CONTENT else _number(block[124:136], "size"),
        link=_decoded(_field(block[157:257])),
        offset=position,
    )


def _with_extensions(
    member: Member, name: str | None, link: str | None, size: int | None, *, sparse: bool
) -> Member:
    name = member.name if name is None else name
    return replace(
        member,
        name=name.rstrip("/") if member.type == DIRECTORY else name,
        link=member.link if link is None else link,
        size=member.size if size is None or member.type in _WITHOUT_CONTENT else size,
        type=SPARSE if sparse else member.type,
    )


def _extension(source: _Stream, member: Member) -> bytes:
    if member.size > EXTENSION_BYTES:
        raise InvalidArgument("not a whole tar archive: a name or header is too long")
    data = source.exactly(member.size)
    source.exactly(-member.size % BLOCK_BYTES)
    return data


def _pax(data: bytes) -> dict[bytes, bytes]:
    """The records of a PAX header: `LENGTH KEY=VALUE` and a newline, all of it LENGTH long."""
    records = {}
    start = 0
    while start < len(data) and data[start]:
        length, space, _ = data[start : start + _PAX_LENGTH_CHARACTERS].partition(b" ")
        end = start + int(length) if space and length.isdigit() else len(data) + 1
        key, equals, value = data[start + len(length) + 1 : end - 1].partition(b"=")
        if not (start < end <= len(data) and data[end - 1 : end] == b"\n" and key and equals):
            raise InvalidArgument("not a whole tar archive: a PAX header is damaged")
        records[key] = value
        start = end
    return records


def _pax_size(value: bytes) -> int:
    if not _PAX_SIZE.fullmatch(value):
        raise InvalidArgument("not a whole tar archive: a PAX header has a size that is none")
    return int(value)


def _refuse_what_counts(records: dict[bytes, bytes], *, sparse: bool) -> None:
    """A header for all members may hold comments and times; one name for all makes no sense."""
    if sparse or records.keys() & {b"path", b"linkpath", b"size"}:
        raise InvalidArgument("not a tar archive for containers: a global header sets names")


def _number(field: bytes, what: str) -> int:
    """A number: octal digits, or GNU's base 256 for large ones. Negative ones are refused."""
    if field[0] == 0x80:  # noqa: PLR2004  GNU's mark of a positive number in base 256
        return int.from_bytes(field[1:])
    digits = _OCTAL.fullmatch(field.split(b"\0", 1)[0])
    if digits is None:
        raise InvalidArgument(f"not a whole tar archive: a header's {what} is no number")
    return int(digits[1] or b"0", 8)


def _field(field: bytes) -> bytes:
    return field.split(b"\0", 1)[0]


def _text(data: bytes) -> str:
    return _decoded(_field(data))


def _decoded(name: bytes) -> str:
    """A name as Python has it: bytes that are no UTF-8 are kept (PEP 383)."""
    return name.decode("utf-8", "surrogateescape")
