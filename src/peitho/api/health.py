"""The operations listener: is Peitho alive, is it ready, and what has it done?"""

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from peitho.api.services import SERVICES, Services, services
from peitho.errors import PeithoError

# The API server ends a watch every 20 s; after this it has not been heard for more than one.
_STALE_SECONDS = 35.0


async def alive(request: web.Request) -> web.Response:
    """GET /healthz — 200 while the process answers."""
    del request
    return web.Response(text="ok\n")


async def ready(request: web.Request) -> web.Response:
    """
    GET /readyz — 200; 503 while Peitho is of no use.

    That is while the cluster or the daemon of builds cannot be reached, or the data directory
    cannot be written.
    """
    everything = services(request)
    if everything.watch.age_seconds > _STALE_SECONDS:
        return web.Response(status=503, text="the Kubernetes API has not been heard\n")
    if cause := await everything.write_probe.cause():
        return web.Response(status=503, text=f"{cause}\n")
    if everything.docker:
        try:
            await everything.docker.ping()
        except PeithoError as error:
            return web.Response(status=503, text=f"{error}\n")
    return web.Response(text="ok\n")


async def metrics(request: web.Request) -> web.Response:
    """GET /metrics — 200: Prometheus' text format."""
    del request
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def application(everything: Services) -> web.Application:
    """Make the operations listener's application."""
    app = web.Application()
    app[SERVICES] = everything
    app.add_routes(
        [web.get("/healthz", alive), web.get("/readyz", ready), web.get("/metrics", metrics)]
    )
    return app
