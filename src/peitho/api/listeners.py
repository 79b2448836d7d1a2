"""The sockets that Peitho listens on, and how they stop."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial

from aiohttp import web

from peitho.api.calls import OpenCalls
from peitho.api.connection import Connection
from peitho.api.tls import TlsProtocol
from peitho.clients.tls import CertificateFiles
from peitho.errors import PeithoError

# The cluster gives a Pod 30 seconds to stop.
_FINISH_SECONDS = 10.0
# A handler may take this to send its answer; aiohttp waits for it twice.
_SEND_SECONDS = 0.25


class CannotListen(PeithoError):  # noqa: N818  named as the kinds of `errors` are
    """An address is in use, or is not one of this machine."""


@dataclass(frozen=True, slots=True)
class Listener:
    """One socket: its application, its address (`HOST:PORT` or `:PORT`), open calls, and TLS."""

    application: web.Application
    address: str
    calls: OpenCalls | None = None
    tls: CertificateFiles | None = None


@asynccontextmanager
async def listening(
    *listeners: Listener, bound: Callable[[], None] = lambda: None
) -> AsyncIterator[list[str]]:
    """
    Listen on all of them; yields the address of each as `HOST:PORT`.

    `bound` is called once all addresses are ours, before the first call is taken.
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
        bound()
        for listener, server in zip(listeners, servers, strict=True):
            with _telling(listener.address):
                await server.start_serving()
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


async def _runner(application: web.Application) -> web.AppRunner:
    """Set up aiohttp; it cancels a handler whose peer hangs up, above all a `wait`."""
    runner = web.AppRunner(
        application, handler_cancellation=True, access_log=None, shutdown_timeout=_SEND_SECONDS
    )
    await runner.setup()
    return runner


async def _bind(runner: web.AppRunner, listener: Listener) -> asyncio.Server:
    server = runner.server
    if server is None:
        raise RuntimeError("the runner is set up and has a server")
    host, _, port = listener.address.rpartition(":")
    factory = partial(_protocol, server, listener.tls)
    with _telling(listener.address):
        return await asyncio.get_running_loop().create_server(
            factory, host.strip("[]") or None, int(port), backlog=512, start_serving=False
        )


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


def _protocol(server: web.Server, tls: CertificateFiles | None) -> asyncio.Protocol:
    connection = Connection(server())
    return TlsProtocol(tls.context(), connection) if tls else connection
