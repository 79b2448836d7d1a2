"""
A peer's connection: aiohttp's own protocol, until `attach` takes it over.

The peers' older client (fsouza/go-dockerclient) shuts its sending half at once when it attaches
without stdin, and keeps reading.  aiohttp closes a connection on that half-close
(aio-libs/aiohttp#3659), and it is often there before the handler has run.  So this stands between
the transport and aiohttp: a half-close waits for a few turns of the loop, to see whether the
handler takes the connection over; if not, it is the hang-up it mostly is.
"""

import asyncio
from collections.abc import Callable
from typing import Self, cast

from aiohttp import web

from peitho.clients.keepalive import keep_alive

# aiohttp wakes its loop in one turn and starts the handler's task in the next; our middleware
# reaches the handler without awaiting.  The rest is room for its next release.
_TURNS = 5


class Connection(asyncio.Protocol):
    """Passes everything on to aiohttp's protocol, until it is taken over."""

    def __init__(self, inner: asyncio.Protocol) -> None:
        self._inner = inner
        self._transport: asyncio.Transport | None = None
        self._taken = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._lost = asyncio.Event()

    @classmethod
    def of(cls, request: web.Request) -> Self:
        """Return the connection of a request."""
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the peer hung up")
        return cast("Self", transport.get_protocol())

    def take_over(self) -> None:
        """Take the connection from aiohttp: a half-close is then no hang-up."""
        self._taken = True

    async def write(self, data: bytes) -> None:
        """Send bytes, and return once there is room for more. Raises ConnectionResetError."""
        transport = self._open_transport()
        transport.write(data)
        await self._writable.wait()

    def close(self) -> None:
        """Close, once what was written has been sent."""
        if self._transport:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Pass it on to aiohttp, and have the connection probed while it is silent."""
        self._transport = cast("asyncio.Transport", transport)
        if connection := transport.get_extra_info("socket"):
            keep_alive(connection)
        self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake whoever writes, and pass it on to aiohttp."""
        self._lost.set()
        self._writable.set()
        self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass bytes on to aiohttp, until the connection is taken over."""
        if not self._taken:  # else it is stdin, which no container of ours has
            self._inner.data_received(data)

    def eof_received(self) -> bool:
        """Keep our half open, and see within a few turns of the loop whether the peer hung up."""
        if not self._taken:
            self._in_turns(_TURNS, self._hang_up_unless_taken)
        return True

    def pause_writing(self) -> None:
        """Make writers wait."""
        self._writable.clear()
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Let writers go on."""
        self._writable.set()
        self._inner.resume_writing()

    def _open_transport(self) -> asyncio.Transport:
        if self._transport is None or self._lost.is_set():
            raise ConnectionResetError("the peer hung up")
        return self._transport

    def _in_turns(self, turns: int, action: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        if turns:
            loop.call_soon(self._in_turns, turns - 1, action)
        else:
            action()

    def _hang_up_unless_taken(self) -> None:
        if not self._taken:
            self._inner.eof_received()
            self.close()


class Taken(web.StreamResponse):
    """The answer of a handler that took the connection over; it sends nothing."""

    def __init__(self) -> None:
        super().__init__(status=101)
        self.force_close()

    async def prepare(self, request: web.BaseRequest) -> None:  # noqa: ARG002  aiohttp's signature
        """Send nothing."""
        return

    async def write_eof(self, data: bytes = b"") -> None:
        """Send nothing."""
