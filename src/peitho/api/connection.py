"""
A peer's connection: aiohttp's own protocol, until `attach` takes it over.

The peers' older client (fsouza/go-dockerclient) shuts its sending half at once when it attaches
without stdin, and keeps reading.  aiohttp closes a connection on that half-close
(aio-libs/aiohttp#3659), and it is often there before the handler has run.  So this stands between
the transport and aiohttp: a half-close waits for a few turns of the loop, to see whether the
handler takes the connection over; if not, it is the hang-up it mostly is.

It also sees to it that heads and bodies come in time (`pace`), and are not larger than they may be,
and that answers are read.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, Self, cast

import structlog
from aiohttp import web

from peitho import metrics
from peitho.api.connections import Connections
from peitho.api.pace import (
    BODY,
    CONNECTED_SECONDS,
    HEAD_BYTES,
    HEAD_SECONDS,
    READ_BYTES,
    READ_SECONDS,
    BodyPace,
    PacedBody,
)
from peitho.clients.keepalive import keep_alive

log = structlog.get_logger()

# aiohttp wakes its loop in one turn and starts the handler's task in the next; our middleware
# reaches the handler without awaiting.  The rest is room for its next release.
_TURNS = 5
# 256 KiB, as asyncio has it, are 300 MiB for 1,200 bodies that begin together.
_READ_BYTES = 64 * 1024
_TOO_LATE = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"Content-Length: 0\r\nConnection: close\r\n\r\n"
)


class _SelectorTransport(Protocol):
    """What asyncio's own transport of a socket has: how much it reads at once."""

    max_size: int


class Connection(asyncio.Protocol):
    """Passes everything on to aiohttp's protocol, until it is taken over."""

    def __init__(self, inner: asyncio.Protocol, connections: Connections) -> None:
        self._inner = inner
        self._connections = connections
        self._timer: asyncio.TimerHandle | None = None
        self._request: web.BaseRequest | None = None
        self._body: PacedBody | None = None
        self._is_body_dropped = False
        # Bytes that came for the next request so far; -1 while the last one's body is still coming.
        self._head_bytes = 0
        self._is_deaf = False
        self._transport: asyncio.Transport | None = None
        self._taken = False
        self._may_pause = False
        self._reading: asyncio.TimerHandle | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._lost = asyncio.Event()

    @classmethod
    def of(cls, request: web.BaseRequest) -> Self:
        """Return the connection of a request."""
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the peer hung up")
        return cast("Self", transport.get_protocol())

    def take_over(self) -> None:
        """Take the connection from aiohttp: a half-close is then no hang-up."""
        self._taken = True

    def let_pause(self) -> None:
        """Let whoever reads this answer pause: a person may, who looks at a log page by page."""
        self._may_pause = True

    @contextmanager
    def serving(self, request: web.BaseRequest) -> Iterator[bool]:
        """Be at work for a request whose head has come; yields False if too many others are."""
        self._stop_timer()
        self._head_bytes = 0
        self._request = request
        self._pace_body(BODY)
        try:
            yield self._connections.work(self)
        finally:
            self._request_done(request)

    def expect(self, pace: BodyPace | None) -> None:
        """Say how slowly the body of the request may come; None drops it, for nobody reads it."""
        self._pace_body(pace or BODY)
        self._is_body_dropped = pace is None
        self._drop_body()

    async def write(self, data: bytes) -> None:
        """Send bytes, and return once there is room for more. Raises ConnectionResetError."""
        transport = self._open_transport()
        transport.write(data)
        await self._writable.wait()

    def close(self) -> None:
        """Close, once what was written has been sent; who does not read it has a minute."""
        if self._transport:
            self._transport.close()
            if not (self._reading or self._lost.is_set()):
                self._look_later(self._transport.get_write_buffer_size())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Pass it on to aiohttp, and have the connection probed while it is silent."""
        self._transport = cast("asyncio.Transport", transport)
        if connection := transport.get_extra_info("socket"):
            keep_alive(connection)
        cast("_SelectorTransport", transport).max_size = _READ_BYTES
        self._inner.connection_made(transport)
        self._set_timer(CONNECTED_SECONDS, self.close)
        self._connections.wait(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake whoever writes, and pass it on to aiohttp."""
        self._stop_timer()
        self._stop_body()
        self._stop_looking()
        self._connections.forget(self)
        self._lost.set()
        self._writable.set()
        self._inner.connection_lost(exc)
        self._transport = None  # they refer to each other, and what TLS holds is large

    def data_received(self, data: bytes) -> None:
        """Pass bytes on to aiohttp, until the connection is taken over."""
        if self._taken or self._is_deaf:  # it is stdin, which no container of ours has
            return
        if self._request is None or self._request.content.is_eof():
            self._count_head(len(data))
        self._inner.data_received(data)
        self._drop_body()

    def eof_received(self) -> bool:
        """Keep our half open, and see within a few turns of the loop whether the peer hung up."""
        if not self._taken:
            self._in_turns(_TURNS, self._hang_up_unless_taken)
        return True

    def pause_writing(self) -> None:
        """Make writers wait."""
        self._writable.clear()
        self._inner.pause_writing()
        if self._transport and not (self._taken or self._reading):
            self._look_later(self._transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Let writers go on."""
        self._writable.set()
        self._inner.resume_writing()
        if self._transport and not self._transport.is_closing():
            self._stop_looking()

    def _look_later(self, unread_bytes: int) -> None:
        loop = asyncio.get_running_loop()
        self._reading = loop.call_later(READ_SECONDS, self._look_at_reader, unread_bytes)

    def _look_at_reader(self, before_bytes: int) -> None:
        """Break off if next to nothing of an answer was read since the last look."""
        transport = self._transport
        if transport is None or self._lost.is_set():
            return
        unread_bytes = transport.get_write_buffer_size()
        is_patient = (self._taken or self._may_pause) and not transport.is_closing()
        if before_bytes - unread_bytes >= READ_BYTES or is_patient:
            self._look_later(unread_bytes)
        else:
            peer = transport.get_extra_info("peername") or ("",)
            log.info("answer not read", peer=peer[0], unread_bytes=unread_bytes)
            metrics.REFUSED.labels("slow").inc()
            transport.abort()

    def _stop_looking(self) -> None:
        if self._reading:
            self._reading.cancel()
            self._reading = None

    def _count_head(self, size: int) -> None:
        """Count bytes that belong to the next request, and give them a time and a limit."""
        if self._head_bytes < 0:
            return
        if not self._head_bytes and self._request is None:
            self._set_timer(HEAD_SECONDS, self._close_head, _TOO_LATE)
        self._head_bytes += size
        if self._head_bytes > HEAD_BYTES:  # the body may have come with it, and begun
            self._in_turns(_TURNS, self._check_head_size)

    def _check_head_size(self) -> None:
        if self._head_bytes > HEAD_BYTES:
            self._close_head(_TOO_LARGE)

    def _close_head(self, answer: bytes) -> None:
        """Close before a request has come."""
        self._is_deaf = True
        if self._transport and self._request is None:
            self._transport.write(answer)
        self.close()

    def _pace_body(self, pace: BodyPace) -> None:
        self._stop_body()
        request, transport = self._request, self._transport
        if request and transport and not request.content.is_eof():
            self._body = PacedBody(
                request.content, pace, is_taken=transport.is_reading, ended=self._stop_listening
            )

    def _drop_body(self) -> None:
        if self._is_body_dropped and self._request and not self._request.content.exception():
            self._request.content.read_nowait()

    def _request_done(self, request: web.BaseRequest) -> None:
        self._stop_body()
        self._request = None
        self._is_body_dropped = False
        self._may_pause = False
        if request.content.exception():  # aiohttp would read on, and trip over it
            self._stop_listening()
            request.content.feed_eof()
        if self._lost.is_set():
            return
        if not request.content.is_eof():
            self._head_bytes = -1  # aiohttp reads on for a few seconds, and closes
        elif self._head_bytes:
            self._set_timer(HEAD_SECONDS, self._close_head, _TOO_LATE)
        self._connections.wait(self)

    def _stop_listening(self) -> None:
        self._is_deaf = True

    def _stop_body(self) -> None:
        if self._body:
            self._body.close()
            self._body = None

    def _set_timer(self, seconds: float, action: Callable[..., None], *args: object) -> None:
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(seconds, action, *args)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _open_transport(self) -> asyncio.Transport:
        if self._transport is None or self._lost.is_set() or self._transport.is_closing():
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
