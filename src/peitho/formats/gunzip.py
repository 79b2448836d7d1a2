"""Archives that may be compressed with gzip: unpacked as they are read, within bounds."""

import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, BinaryIO, Final, cast

from peitho.errors import InvalidArgument

_GZIP: Final = b"\x1f\x8b"
# What dockerd would take as well; no peer sends it.
_REFUSED: Final = (
    (re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"), "bzip2"),
    (re.compile(rb"\xfd7zXZ\0"), "xz"),
    (re.compile(rb"\x28\xb5\x2f\xfd"), "zstd"),
)
_LONGEST_MARK_BYTES: Final = 10
_GZIP_WBITS: Final = 31
_CHUNK_BYTES: Final = 16 * 1024
# Sources compress 3 to 20 times; DEFLATE can do 1032 times.  Small archives may have any ratio.
_RATIO: Final = 200
_ANY_RATIO_BYTES: Final = 32 * 1024**2


@contextmanager
def unpacked(archive: BinaryIO, *, limit_bytes: int) -> Iterator[BinaryIO]:
    """
    The archive as it is without its compression; reading raises InvalidArgument past the limit.

    `archive` must be seekable. Raises InvalidArgument for a compression other than gzip.
    """
    start = archive.tell()
    mark = archive.read(_LONGEST_MARK_BYTES)
    archive.seek(start)
    if not mark.startswith(_GZIP):
        for magic, name in _REFUSED:
            if magic.match(mark):
                raise InvalidArgument(
                    f"the archive is compressed with {name}: send it plain or with gzip"
                )
        yield archive
        return
    yield cast("BinaryIO", Gunzip(archive, limit_bytes=limit_bytes))


class Gunzip:
    """
    A reader of what is behind gzip (RFC 1952), with as many gzip members as there are.

    The standard library's GzipFile reads some of its header byte by byte, and knows no bound.
    """

    def __init__(self, source: IO[bytes], *, limit_bytes: int) -> None:
        self._source = source
        self._limit_bytes = limit_bytes
        self._packed = self._unpacked = 0
        self._input = b""
        self._member = zlib.decompressobj(_GZIP_WBITS)
        self._ended = False

    def read(self, size: int) -> bytes:
        """Read so many bytes, fewer before the end. Raises InvalidArgument for damage."""
        chunks = []
        while size > 0 and (chunk := self._some(size)):
            chunks.append(chunk)
            size -= len(chunk)
        return b"".join(chunks)

    def _some(self, size: int) -> bytes:
        """At least one byte, or none at the end."""
        while not self._ended:
            if self._member.eof:
                self._begin_next()
                continue
            if not self._input:
                self._input = self._source.read(_CHUNK_BYTES)
                self._packed += len(self._input)
            try:
                data = self._member.decompress(self._input, size)
            except zlib.error as error:
                raise InvalidArgument(f"not a whole tar archive: its gzip: {error}") from error
            cut = not self._input and not data and not self._member.eof
            self._input = self._member.unused_data or self._member.unconsumed_tail
            if cut:
                raise InvalidArgument("not a whole tar archive: its gzip is cut")
            if data:
                self._count(data)
                return data
        return b""

    def _begin_next(self) -> None:
        """Go on with another member, or end; zeros may follow, as tapes and dockerd have them."""
        while not (rest := self._input.lstrip(b"\0")):
            self._input = self._source.read(_CHUNK_BYTES)
            self._packed += len(self._input)
            if not self._input:
                self._ended = True
                return
        self._input = rest
        self._member = zlib.decompressobj(_GZIP_WBITS)

    def _count(self, data: bytes) -> None:
        self._unpacked += len(data)
        if self._unpacked > self._limit_bytes:
            raise InvalidArgument(f"the archive unpacks to more than {self._limit_bytes} bytes")
        if self._unpacked > max(_ANY_RATIO_BYTES, self._packed * _RATIO):
            raise InvalidArgument(
                f"the archive unpacks to more than {_RATIO} times its size: it was made to do harm"
            )
