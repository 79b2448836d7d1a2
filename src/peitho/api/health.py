"""The operations listener: is Peitho alive, is it ready, and what has it done?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from peitho.api import operators
from peitho.api.page.checks import Checks, no_checks
from peitho.api.page.guard import Guard, PageAccess
from peitho.api.page.pages import StatusPage
from peitho.api.readiness import Lines, bad, good
from peitho.api.services import SERVICES, Services, services
from peitho.settings.live import Live
from peitho.settings.models import DEFAULT_TENANT

_OPEN = web.AppKey("open", bool)
_LINES = web.AppKey("lines", Sequence[Lines])
_GUARD = web.AppKey("guard", Guard)


@dataclass(frozen=True, slots=True)
class PageParts:
    """What the status page has beside the parts of all: who may read it, and what checks found."""

    access: Live[PageAccess] = field(default_factory=lambda: Live(PageAccess()))
    checked: Checks = no_checks


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
    lines = _told(request.app, {"data directory": cause, **around})
    verdict = "not ready" if cause else "ready"
    return web.Response(status=status, text="\n".join([*lines, verdict, ""]))


def _told(app: web.Application, causes: Mapping[str, str]) -> list[str]:
    """Return a line for each part: for those with a cause, and for those that tell themselves."""
    lines = [bad(name, each) if each else good(name) for name, each in causes.items()]
    lines += [line for of_part in app[_LINES] for line in of_part()]
    if app[_OPEN]:
        lines.append("[!]docker api is open to whoever reaches it: see server.tls")
    return lines


async def metrics(request: web.Request) -> web.Response:
    """GET /metrics — 200: Prometheus' text format; 401, 403 where a certificate is wanted."""
    if refused := await request.app[_GUARD].metrics_refused(request):
        return refused
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def application(
    everything: Services,
    *,
    is_open: bool = False,
    lines: Sequence[Lines] = (),
    tenants: Mapping[str, Services] | None = None,
    page: PageParts | None = None,
) -> web.Application:
    """
    Make the operations listener's application.

    `is_open` is told of the Docker API, `lines` are those of more parts, `tenants` the parts of all
    tenants where there are several.
    """
    app = web.Application()
    app[SERVICES], app[_OPEN], app[_LINES] = everything, is_open, lines
    app[operators.TENANTS] = served = tenants or {DEFAULT_TENANT: everything}
    page = page or PageParts()
    app[_GUARD] = guard = Guard(page.access)

    async def parts() -> Sequence[str]:
        # What is outside was looked at a moment ago: whoever looks at the page asks nobody.
        cause = await everything.write_probe.cause()
        return _told(app, {"data directory": cause, **everything.surroundings.last})

    status = StatusPage(served, parts=parts, checked=page.checked, guard=guard)
    app.add_routes(
        [
            web.get("/healthz", alive),
            web.get("/livez", alive),
            web.get("/readyz", ready),
            web.get("/metrics", metrics),
            web.get("/builds", operators.builds),
            web.get("/builds/{id:[0-9a-f]{4,64}}/log", operators.log),
            *status.routes(),
        ]
    )
    return app
