"""An application of a test's own, served on loopback."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web


@asynccontextmanager
async def on_loopback(
    app: web.Application, *, handler_cancellation: bool = False, tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """`HOST:PORT` of an application, while it is served; what is open at the end is cut."""
    runner = web.AppRunner(app, handler_cancellation=handler_cancellation, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
