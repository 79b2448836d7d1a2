"""
What a build says: kept in a file, read by whoever attaches, from the start, at their own pace.

The file holds Docker frames, so stdout and stderr stay apart and in order.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from peitho.clients.storage import room
from peitho.formats import streams
from peitho.formats.streams import STDERR, FrameReader

_READ_BYTES = 64 * 1024


class Readers:
    """Who reads something at the moment, so that its end can wait for them."""

    def __init__(self) -> None:
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()

    @property
    def are_none(self) -> bool:
        """Whether nobody reads."""
        return self._count == 0

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Count the caller among the readers."""
        self._count += 1
        self._none.clear()
        try:
            yield
        finally:
            self._count -= 1
            if self.are_none:
                self._none.set()

    async def drained(self, seconds: float) -> None:
        """Return when nobody reads any more, or after `seconds`: a stuck peer holds up no other."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._none.wait()


class Output:
    """One writer, any number of readers; a reader ends when the writer has closed."""

    def __init__(self, path: Path, *, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._file = path.open("w+b")
        self._size = 0
        self._incoming = FrameReader()
        self._more = asyncio.Event()
        self.readers = Readers()
        self.closed = False

    def write(self, frames: bytes) -> None:
        """Add framed output, cut anywhere; what comes after the close is dropped."""
        for stream, data in self._incoming.feed(frames):
            if self._size < self._limit_bytes:
                self._add(stream, data)
                if self._size >= self._limit_bytes:
                    self.say(f"peitho: more than {self._limit_bytes} bytes are left out")

    def say(self, text: str) -> None:
        """Add a line of our own, on stderr; the writer may have ended in the middle of a frame."""
        self._add(STDERR, f"{text}\n".encode())

    def _add(self, stream: int, data: bytes) -> None:
        if self.closed:
            return
        framed = streams.frame(stream, data)
        with room():
            self._file.seek(0, 2)
            self._file.write(framed)
            self._file.flush()
        self._size += len(framed)
        self._tell()

    def close(self) -> None:
        """No more will come; readers end once they have read it all."""
        self.closed = True
        self._tell()

    def discard(self) -> None:
        """Nobody reads any more: give the file back."""
        self.close()
        self._file.close()

    async def read(self, *, follow: bool, from_start: bool) -> AsyncIterator[tuple[int, bytes]]:
        """Stream numbers and bytes; with `follow` as they come, until the output is closed."""
        reader = FrameReader()
        position = 0 if from_start else self._size
        with self.readers.reading():
            while chunk := await self._next(position, follow=follow):
                position += len(chunk)
                for message in reader.feed(chunk):
                    yield message

    async def _next(self, position: int, *, follow: bool) -> bytes:
        while follow and not self.closed and self._size <= position:
            await self._more.wait()
        if self._file.closed:
            return b""
        self._file.seek(position)
        return self._file.read(_READ_BYTES)

    def _tell(self) -> None:
        # Wakes all who wait now; whoever comes later looks at the size first.
        self._more.set()
        self._more = asyncio.Event()
