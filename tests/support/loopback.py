"""Applications of tests, served on loopback, with TLS or without."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


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


async def _ping(_: web.Request) -> web.StreamResponse:
    return web.Response(text="OK", headers={"Api-Version": "1.41"})


@asynccontextmanager
async def listening_with_tls(
    folder: Path, *, client: ssl.VerifyMode = ssl.CERT_REQUIRED, answer: Handler = _ping
) -> AsyncIterator[str]:
    """The endpoint of a daemon that asks for certificates of the folder's CA."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=folder / "ca.crt")
    context.load_cert_chain(folder / "apiserver.crt", folder / "apiserver.key")
    context.verify_mode = client
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with on_loopback(app, tls=context) as address:
        yield f"tcp://{address}"
