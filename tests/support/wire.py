"""What a peer's client does on a connection, byte by byte, for tests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol
from urllib.parse import urlsplit


class Reader(Protocol):
    """What is needed of a StreamReader."""

    async def readuntil(self, separator: bytes) -> bytes:
        """All up to the separator, and it."""

    async def readexactly(self, length: int) -> bytes:
        """So many bytes."""

    async def read(self) -> bytes:
        """All there is until the other side closes."""


class Writer(Protocol):
    """What is needed of a StreamWriter."""

    def write(self, data: bytes) -> None:
        """Send."""

    def write_eof(self) -> None:
        """Shut the sending half."""


class Wire:
    """One connection of a peer."""

    def __init__(self, reader: Reader, writer: Writer) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, method: str, path: str, *, headers: str = "", body: bytes = b"") -> None:
        """A request's head, and what there is of its body."""
        self._writer.write(
            f"{method} {path} HTTP/1.1\r\nHost: peitho\r\n{headers}\r\n".encode() + body
        )

    def send_more(self, data: bytes) -> None:
        """More of a body."""
        self._writer.write(data)

    def half_close(self) -> None:
        """Shut the sending half: the older client does so at once when it attaches."""
        self._writer.write_eof()

    async def head(self) -> str:
        """The head of the answer."""
        return (await self._reader.readuntil(b"\r\n\r\n")).decode()

    async def some(self, length: int) -> bytes:
        """So many bytes."""
        return await self._reader.readexactly(length)

    async def rest(self) -> bytes:
        """All there is until the other side closes."""
        return await self._reader.read()


@asynccontextmanager
async def wire(url: str) -> AsyncIterator[Wire]:
    """A connection to a server."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()
