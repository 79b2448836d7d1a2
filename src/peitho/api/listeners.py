"""The sockets that Peitho listens on, and how they stop."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from peitho import metrics
from peitho.api.calls import OpenCalls
from peitho.api.connection import Connection
from peitho.api.connections import Connections
from peitho.api.middleware import error_response
from peitho.api.tls import TlsProtocol
from peitho.clients.tls import ServerTls
from peitho.errors import PeithoError, Unavailable
from peitho.formats.http_errors import without_content

log = structlog.get_logger()

# The cluster gives a Pod 30 seconds to stop.
_FINISH_SECONDS = 10.0
# A handler may take this to send its answer; aiohttp waits for it twice.
_SEND_SECONDS = 0.25
# asyncio lets in as many callers in one turn of its loop as it has the kernel hold. Few are wanted
# of the first and many of the second: whoever finds the kernel full asks again after a second.
_LET_IN_PER_TURN = 16
_WAITING_CALLERS = 4096
# Of each body, aiohttp holds twice as much at most.
_READ_BYTES = 64 * 1024

_RequestHandler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class CannotListen(PeithoError):  # noqa: N818  named as the kinds of `errors` are
    """An address is in use, or is not one of this machine."""


@dataclass(frozen=True, slots=True)
class Listener:
    """One socket: its application, its address (`HOST:PORT` or `:PORT`), open calls, and TLS."""

    application: web.Application
    address: str
    calls: OpenCalls | None = None
    tls: ServerTls | None = None
    name: str = ""


@asynccontextmanager
async def listening(
    *listeners: Listener,
    bound: Callable[[], None] = lambda: None,
    opened: dict[str, asyncio.Server] | None = None,
) -> AsyncIterator[list[str]]:
    """
    Listen on all of them; yields the address of each as `HOST:PORT`.

    `bound` is called once all addresses are ours, before the first call is taken; `opened` gets
    the server of each that has a name.
    At the end they stop one after the other: no new call is taken, and short calls finish. Long
    ones, such as a peer's `wait`, are cut off, as by a dockerd that stops and leaves its containers
    running. Raises CannotListen, for an address that is in use above all.
    """
    runners: list[web.AppRunner] = []
    servers: list[asyncio.Server] = []
    try:
        for listener in listeners:
            runners.append(await _runner(listener.application))
            servers.append(await _bind(runners[-1], listener))
            if opened is not None and listener.name:
                opened[listener.name] = servers[-1]
        bound()
        for listener, server in zip(listeners, servers, strict=True):
            with _telling(listener.address):
                await server.start_serving()
                _let_wait(server)
        yield [_address(server) for server in servers]
        # One after the other: a launch that is to finish needs the next listener.
        for listener, server in zip(listeners, servers, strict=True):
            server.close()
            if listener.calls:
                await listener.calls.finish(within_seconds=_FINISH_SECONDS)
    finally:
        for server in servers:
            server.close()
        # Once cleaned up, aiohttp drops what is still being sent to it.
        async with asyncio.TaskGroup() as group:
            for runner in runners:
                group.create_task(runner.cleanup())


class _Handler(web.RequestHandler):
    """aiohttp's protocol, whose answer to a malformed request does not repeat it."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer with the cause: what a caller sent may be a key or a password."""
        return super().handle_error(request, status, exc, without_content(message or ""))


async def _runner(application: web.Application) -> web.AppRunner:
    """Set up aiohttp; it cancels a handler whose peer hangs up, above all a `wait`."""
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=_SEND_SECONDS)
    await runner.setup()
    if server := runner.server:
        server.request_handler = _in_time(server.request_handler)
    return runner


def _in_time(handle: _RequestHandler) -> _RequestHandler:
    """Tell the connection of each request when it begins and when it is over."""

    async def serve(request: web.BaseRequest) -> web.StreamResponse:
        with Connection.of(request).serving(request) as is_served:
            if is_served:
                return await handle(request)
            metrics.REFUSED.labels("connections").inc()
            refused = error_response(Unavailable.status, "Peitho has too many open connections")
            refused.force_close()
            return refused

    return serve


def _options() -> dict[str, Any]:
    """What aiohttp's protocol is told for each connection."""
    return {
        "access_log": None,
        # dockerd looks at no Content-Encoding either, and what is packed may unpack to anything.
        "auto_decompress": False,
        "read_bufsize": _READ_BYTES,
        "logger": _server_log(),
    }


def _server_log() -> logging.Logger:
    """Return aiohttp's log, in which a caller's mistake is no traceback."""
    server_log = logging.getLogger("peitho.http")
    if _is_news not in server_log.filters:
        server_log.addFilter(_is_news)
    return server_log


def _is_news(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    if not isinstance(error, (HttpProcessingError, web.RequestPayloadError, ConnectionError)):
        return True
    log.debug("request malformed or cut", cause=without_content(str(error))[:200])
    return False


async def _bind(runner: web.AppRunner, listener: Listener) -> asyncio.Server:
    server = runner.server
    if server is None:
        raise RuntimeError("the runner is set up and has a server")
    host, _, port = listener.address.rpartition(":")
    # Apart: whoever shows no certificate closes no connection of those that have.
    handshakes = Connections.allowed()
    factory = partial(_protocol, server, Connections.allowed(), listener.tls, handshakes)
    with _telling(listener.address):
        return await asyncio.get_running_loop().create_server(
            factory,
            host.strip("[]") or None,
            int(port),
            backlog=_LET_IN_PER_TURN,
            start_serving=False,
        )


def _let_wait(server: asyncio.Server) -> None:
    """Have the kernel hold more callers than are let in at once; listen(2) may be called again."""
    for each in server.sockets:
        with each.dup() as same:
            same.listen(_WAITING_CALLERS)


@contextmanager
def _telling(address: str) -> Iterator[None]:
    """Turn the error of an address into CannotListen."""
    try:
        yield
    except OSError as error:
        raise CannotListen(f"Cannot listen at {address}: {error.strerror}") from error


def _address(server: asyncio.Server) -> str:
    host, port, *_ = server.sockets[0].getsockname()
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _protocol(
    server: web.Server, connections: Connections, tls: ServerTls | None, handshakes: Connections
) -> asyncio.Protocol:
    connection = Connection(
        _Handler(server, loop=asyncio.get_running_loop(), **_options()), connections
    )
    return TlsProtocol(tls.context(), connection, handshakes) if tls else connection
