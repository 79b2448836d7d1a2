"""
The output of a build: written to a file once, and read by every peer that attaches.

The file holds Docker frames, so that stdout and stderr stay apart and in order.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Self

from peitho.clients.disk.room import room
from peitho.core.builds.tail import Tail
from peitho.core.container import OutputOptions
from peitho.formats.docker import streams
from peitho.formats.docker.streams import STDERR, STDOUT, FrameReader

_READ_BYTES = 64 * 1024
_LAST_LINE_BYTES = 500
# What is told to those who look in, and of a build that is over.
_TAIL_BYTES = 64 * 1024
_TAIL_AFTER_BYTES = 4 * 1024


class BuildOutput:
    """
    A file with one writer and many readers; a reader ends when the writer has closed.

    It is open while it is written, and while a piece of it is read.
    """

    def __init__(self, path: Path, *, limit_bytes: int, size: int = 0) -> None:
        self._path = path
        self._limit_bytes = limit_bytes
        self._file: BinaryIO | None = None  # while it is written
        self._size = size
        self._incoming = FrameReader()
        self._more = asyncio.Event()
        self._tail = Tail(_TAIL_BYTES)
        self.closed = False

    @property
    def size_bytes(self) -> int:
        """How much there is of it, framed."""
        return self._size

    @property
    def last_line(self) -> str:
        """The line that was written last, or its end where it is long; empty without any."""
        lines = self._tail.last(_LAST_LINE_BYTES).decode(errors="replace").splitlines()
        return next((line for line in reversed(lines) if line.strip()), "")

    @property
    def tail(self) -> Tail:
        """What was written last, without frames; nothing of a kept build."""
        return self._tail

    @classmethod
    def create(cls, path: Path, *, limit_bytes: int) -> Self:
        """Open a new, empty output."""
        output = cls(path, limit_bytes=limit_bytes)
        output._file = path.open("wb")
        return output

    @classmethod
    def kept(cls, path: Path) -> Self:
        """Open the output of a kept build, which is complete."""
        output = cls(path, limit_bytes=0, size=path.stat().st_size)
        output.closed = True
        return output

    def write(self, frames: bytes) -> None:
        """Append framed output, cut anywhere; after `close` it is ignored."""
        for stream, data in self._incoming.feed(frames):
            if self._size < self._limit_bytes:
                self._add(stream, data)
                if self._size >= self._limit_bytes:
                    self.say(f"peitho: more than {self._limit_bytes} bytes are left out")

    def say(self, text: str) -> None:
        """Append a line of Peitho's own on stderr, even if the last frame is not complete."""
        self._add(STDERR, f"{text}\n".encode())

    def _add(self, stream: int, data: bytes) -> None:
        if self.closed or self._file is None:
            return
        framed = streams.frame(stream, data)
        with room():
            self._file.write(framed)
            self._file.flush()
        self._size += len(framed)
        self._tail.add(data)
        self.wake()

    def close(self) -> None:
        """Mark the output as complete; readers end once they have read all of it."""
        self.closed = True
        self._tail.cut(_TAIL_AFTER_BYTES)
        if self._file:
            with suppress(OSError):  # of a full disk, which was told when it was written
                self._file.close()
        self.wake()

    async def read(
        self, options: OutputOptions, *, stopped: Callable[[], bool] = lambda: False
    ) -> AsyncIterator[tuple[int, bytes]]:
        """
        Yield stream numbers and bytes; followed as they come, until the output is closed.

        A reader stops following once `stopped` returns True; it is asked at each `wake`.
        """
        reader = FrameReader()
        position = self._size if options.tail_lines == 0 else 0
        skipped = await self._lines_before(options) if options.tail_lines else 0
        while chunk := await self._next(position, follow=options.follow, stopped=stopped):
            position += len(chunk)
            for stream, data in _of_streams(reader.feed(chunk), options):
                rest, skipped = _without_lines(data, skipped)
                if rest:
                    yield stream, rest

    async def _lines_before(self, options: OutputOptions) -> int:
        """Return how many lines there are now before the last ones that are asked for."""
        everything = replace(options, follow=False, tail_lines=None)
        lines, last = 0, b"\n"
        async for _, data in self.read(everything):
            lines, last = lines + data.count(b"\n"), data[-1:]
        return max(0, lines + (last != b"\n") - (options.tail_lines or 0))

    async def _next(self, position: int, *, follow: bool, stopped: Callable[[], bool]) -> bytes:
        while follow and not self.closed and self._size <= position and not stopped():
            await self._more.wait()
        with suppress(FileNotFoundError), self._path.open("rb") as file:  # else it was discarded
            file.seek(position)
            return file.read(_READ_BYTES)
        return b""

    def wake(self) -> None:
        """Make all readers look again."""
        # This wakes all readers that wait now; a later one looks at the size before it waits.
        self._more.set()
        self._more = asyncio.Event()


def _of_streams(
    messages: Iterable[tuple[int, bytes]], options: OutputOptions
) -> Iterator[tuple[int, bytes]]:
    asked = {STDOUT: options.stdout, STDERR: options.stderr}
    return ((stream, data) for stream, data in messages if asked[stream])


def _without_lines(data: bytes, count: int) -> tuple[bytes, int]:
    """Leave out so many lines; return the rest, and how many lines are still to be left out."""
    ends = data.count(b"\n")
    if ends < count:
        return b"", count - ends
    return data.split(b"\n", count)[count], 0
