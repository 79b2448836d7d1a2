"""The operations listener: is Peitho alive, is it ready, and what has it done?"""

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from peitho.api.services import SERVICES, Services, services

_OPEN = web.AppKey("open", bool)


async def alive(request: web.Request) -> web.Response:
    """GET /healthz — 200 while the process answers."""
    del request
    return web.Response(text="ok\n")


async def ready(request: web.Request) -> web.Response:
    """
    GET /readyz — 200; 503 while Peitho itself lacks what it needs: a data directory to write to.

    With `?verbose` there is a line for each part, also for those outside, which change no status.
    """
    everything = services(request)
    cause = await everything.write_probe.cause()
    status = 503 if cause else 200
    if "verbose" not in request.query:
        return web.Response(status=status, text=f"{cause or 'ok'}\n")
    around = await everything.surroundings.look()
    lines = [_line(name, each) for name, each in {"data directory": cause, **around}.items()]
    if request.app[_OPEN]:
        lines.append("[!]docker api is open to whoever reaches it: see server.tls")
    verdict = "not ready" if cause else "ready"
    return web.Response(status=status, text="\n".join([*lines, verdict, ""]))


def _line(part: str, cause: str) -> str:
    return f"[-]{part}: {cause}" if cause else f"[+]{part} ok"


async def metrics(request: web.Request) -> web.Response:
    """GET /metrics — 200: Prometheus' text format."""
    del request
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def application(everything: Services, *, is_open: bool = False) -> web.Application:
    """Make the operations listener's application; `is_open` is told of the Docker API."""
    app = web.Application()
    app[SERVICES], app[_OPEN] = everything, is_open
    app.add_routes(
        [web.get("/healthz", alive), web.get("/readyz", ready), web.get("/metrics", metrics)]
    )
    return app
