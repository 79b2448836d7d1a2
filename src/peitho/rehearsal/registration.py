"""The peer's listener for chaincode: who registers, and what it answers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Self


@dataclass(slots=True)
class Registration:
    """One chaincode that has registered: calls go to it, one at a time."""

    chaincode_id: str
    has_files: bool
    _reader: asyncio.StreamReader
    _writer: asyncio.StreamWriter

    async def call(self, number: int) -> bool:
        """Whether it answers a call rightly."""
        await self._send(f"call {number}")
        return await self._reader.readline() == f"answer {number}\n".encode()

    async def crash(self) -> None:
        """Have it end with exit code 7."""
        await self._send("crash")

    async def _send(self, line: str) -> None:
        self._writer.write(f"{line}\n".encode())
        await self._writer.drain()


@dataclass(slots=True)
class Registrations:
    """Where chaincode registers; whoever connects and says anything else is hung up on."""

    port: int = 0
    _arrived: asyncio.Queue[Registration] = field(default_factory=asyncio.Queue)
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)

    @classmethod
    @asynccontextmanager
    async def listen(cls, host: str, port: int) -> AsyncIterator[Self]:
        """Listen at an address of this machine; port 0 takes any. Raises OSError."""
        registrations = cls()
        server = await asyncio.start_server(registrations._greet, host, port)
        registrations.port = server.sockets[0].getsockname()[1]
        try:
            yield registrations
        finally:
            server.close()
            for writer in registrations._writers:
                await _close(writer)

    async def next(self, chaincode_id: str) -> Registration:
        """Wait for the next chaincode of this ID."""
        while True:
            arrived = await self._arrived.get()
            if arrived.chaincode_id == chaincode_id:
                return arrived

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        words = (await reader.readline()).decode(errors="replace").split()
        match words:
            case ["register", chaincode_id, files]:
                arrived = Registration(chaincode_id, files == "files=true", reader, writer)
                self._arrived.put_nowait(arrived)
            case _:
                writer.close()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
