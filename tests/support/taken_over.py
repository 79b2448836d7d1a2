"""Handlers that take their connection over, as `attach` does."""

import asyncio

from aiohttp import web

from peitho.api.connection import Connection, Taken

SAID = b"".join(b"\x01\0\0\0\0\0\0\x05line\n" for _ in range(50))


async def attach(request: web.Request) -> web.StreamResponse:
    """Take the connection over and say something, after a while."""
    connection = Connection.of(request)
    connection.take_over()
    await asyncio.sleep(0.001)
    await connection.write(b"HTTP/1.1 101 UPGRADED\r\n\r\n")
    for at in range(0, len(SAID), 100):
        await asyncio.sleep(0)
        await connection.write(SAID[at : at + 100])
    connection.close()
    return Taken()


class Endless:
    """Writes for as long as somebody reads."""

    def __init__(self) -> None:
        self.written_bytes = 0
        self.ended = asyncio.Event()

    async def attach(self, request: web.Request) -> web.StreamResponse:
        """Take the connection over, and write until it is gone."""
        connection = Connection.of(request)
        connection.take_over()
        try:
            while True:
                await connection.write(bytes(65536))
                self.written_bytes += 65536
        finally:
            self.ended.set()

    async def until_held_up(self) -> None:
        """Return once nothing more can be written."""
        before = -1
        while before != self.written_bytes:
            before = self.written_bytes
            await asyncio.sleep(0.05)
