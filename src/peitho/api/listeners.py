"""The sockets that Peitho listens on, and how they stop."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from aiohttp import web

from peitho.api.calls import OpenCalls
from peitho.api.connection import Connection

# The cluster gives a Pod 30 seconds to stop.
_FINISH_SECONDS = 10.0
# A handler may take this to send its answer; aiohttp waits for it twice.
_SEND_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Listener:
    """One socket: its application, its address (`HOST:PORT` or `:PORT`), and its open calls."""

    application: web.Application
    address: str
    calls: OpenCalls | None = None


@asynccontextmanager
async def listening(*listeners: Listener) -> AsyncIterator[list[str]]:
    """
    Listen on all of them; yields the address of each as `HOST:PORT`.

    At the end they stop one after the other: no new call is taken, and short calls finish. Long
    ones, such as a peer's `wait`, are cut off, as by a dockerd that stops and leaves its containers
    running. Raises OSError for an address that is in use.
    """
    runners: list[web.AppRunner] = []
    servers: list[asyncio.Server] = []
    try:
        for listener in listeners:
            runners.append(await _runner(listener.application))
            servers.append(await _listen(runners[-1], listener.address))
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


async def _listen(runner: web.AppRunner, address: str) -> asyncio.Server:
    server = runner.server
    if server is None:
        raise RuntimeError("the runner is set up and has a server")
    host, _, port = address.rpartition(":")
    factory: Callable[[], Connection] = partial(_connection, server)
    return await asyncio.get_running_loop().create_server(
        factory, host.strip("[]") or None, int(port), backlog=512
    )


def _address(server: asyncio.Server) -> str:
    host, port, *_ = server.sockets[0].getsockname()
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _connection(server: web.Server) -> Connection:
    return Connection(server())
