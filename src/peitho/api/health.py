"""The operations listener: is Peitho alive, is it ready, and what has it done?"""

from collections.abc import Mapping, Sequence

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from peitho.api import operators
from peitho.api.readiness import Lines, bad, good
from peitho.api.services import SERVICES, Services, services
from peitho.settings.models import DEFAULT_TENANT

_OPEN = web.AppKey("open", bool)
_LINES = web.AppKey("lines", Sequence[Lines])


async def alive(request: web.Request) -> web.Response:
    """GET /healthz, GET /livez — 200 while the process answers."""
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
    causes = {"data directory": cause, **around}
    lines = [bad(name, each) if each else good(name) for name, each in causes.items()]
    lines += [line for of_part in request.app[_LINES] for line in of_part()]
    if request.app[_OPEN]:
        lines.append("[!]docker api is open to whoever reaches it: see server.tls")
    verdict = "not ready" if cause else "ready"
    return web.Response(status=status, text="\n".join([*lines, verdict, ""]))


async def metrics(request: web.Request) -> web.Response:
    """GET /metrics — 200: Prometheus' text format."""
    del request
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def application(
    everything: Services,
    *,
    is_open: bool = False,
    lines: Sequence[Lines] = (),
    tenants: Mapping[str, Services] | None = None,
) -> web.Application:
    """
    Make the operations listener's application.

    `is_open` is told of the Docker API, `lines` are those of more parts, `tenants` the parts of all
    tenants where there are several.
    """
    app = web.Application()
    app[SERVICES], app[_OPEN], app[_LINES] = everything, is_open, lines
    app[operators.TENANTS] = tenants or {DEFAULT_TENANT: everything}
    app.add_routes(
        [
            web.get("/healthz", alive),
            web.get("/livez", alive),
            web.get("/readyz", ready),
            web.get("/metrics", metrics),
            web.get("/builds", operators.builds),
            web.get("/builds/{id:[0-9a-f]{4,64}}/log", operators.log),
        ]
    )
    return app
