"""
What a build says: kept in a file, read by whoever attaches, from the start, at their own pace.

The file holds Docker frames, so stdout and stderr stay apart and in order.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import BinaryIO, Self

from peitho.clients.disk.storage import room
from peitho.formats.docker import streams
from peitho.formats.docker.streams import STDERR, FrameReader

_READ_BYTES = 64 * 1024


class BuildOutput:
    """One writer, any number of readers; a reader ends when the writer has closed."""

    def __init__(self, file: BinaryIO, *, limit_bytes: int, size: int = 0) -> None:
        self._limit_bytes = limit_bytes
        self._file = file
        self._size = size
        self._incoming = FrameReader()
        self._more = asyncio.Event()
        self.closed = False

    @classmethod
    def create(cls, path: Path, *, limit_bytes: int) -> Self:
        """An output that has said nothing yet, in a new file."""
        return cls(path.open("w+b"), limit_bytes=limit_bytes)

    @classmethod
    def kept(cls, path: Path) -> Self:
        """An output that was closed before, and is read again."""
        file = path.open("rb")
        output = cls(file, limit_bytes=0, size=path.stat().st_size)
        output.closed = True
        return output

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
        self.wake()

    def close(self) -> None:
        """No more will come; readers end once they have read it all."""
        self.closed = True
        self.wake()

    def discard(self) -> None:
        """Nobody reads any more: give the file back."""
        self.close()
        self._file.close()

    async def read(
        self, *, follow: bool, from_start: bool, stopped: Callable[[], bool] = lambda: False
    ) -> AsyncIterator[tuple[int, bytes]]:
        """
        Stream numbers and bytes; with `follow` as they come, until the output is closed.

        A reader of whom `stopped` says so at a `wake` is told no more than there is.
        """
        reader = FrameReader()
        position = 0 if from_start else self._size
        while chunk := await self._next(position, follow=follow, stopped=stopped):
            position += len(chunk)
            for message in reader.feed(chunk):
                yield message

    async def _next(self, position: int, *, follow: bool, stopped: Callable[[], bool]) -> bytes:
        while follow and not self.closed and self._size <= position and not stopped():
            await self._more.wait()
        if self._file.closed:
            return b""
        self._file.seek(position)
        return self._file.read(_READ_BYTES)

    def wake(self) -> None:
        """Have readers look again."""
        # Wakes all who wait now; whoever comes later looks at the size first.
        self._more.set()
        self._more = asyncio.Event()
