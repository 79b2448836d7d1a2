"""
The Docker Engine API on one page: the calls that are answered, and those that never are.

Each path is there twice, bare and below `/v1.NN`, for the three generations of peers' clients.
"""

from aiohttp import web

from peitho.api import archives, attach, containers, images, system
from peitho.api.calls import OpenCalls
from peitho.api.middleware import add_headers, answer, seen
from peitho.api.services import SERVICES, Services
from peitho.errors import Unsupported

# https://docs.docker.com/reference/api/engine/
ROUTES = (
    ("GET", "/_ping", system.ping),
    ("GET", "/version", system.version),
    ("GET", "/info", system.info),
    ("POST", "/containers/create", containers.create),
    ("GET", "/containers/json", containers.list_all),
    ("GET", "/containers/{id}/json", containers.inspect),
    ("PUT", "/containers/{id}/archive", archives.put),
    ("GET", "/containers/{id}/archive", archives.get),
    ("POST", "/containers/{id}/attach", attach.attach),
    ("GET", "/containers/{id}/logs", containers.logs),
    ("POST", "/containers/{id}/start", containers.start),
    ("POST", "/containers/{id}/stop", containers.stop),
    ("POST", "/containers/{id}/kill", containers.kill),
    ("POST", "/containers/{id}/wait", containers.wait),
    ("DELETE", "/containers/{id}", containers.remove),
    ("POST", "/build", images.build),
    ("POST", "/images/create", images.pull),
    ("GET", "/images/json", images.list_all),
    ("GET", "/images/{name:.+}/json", images.inspect),
    ("DELETE", "/images/{name:.+}", images.remove),
)

# These last as long as a container does.
LONG = (attach.attach, containers.logs, containers.wait)

NOT_IMPLEMENTED = (
    "GET /containers/{id}/attach/ws",
    "GET /containers/{id}/changes",
    "GET /containers/{id}/export",
    "GET /containers/{id}/stats",
    "GET /containers/{id}/top",
    "POST /containers/{id}/exec",
    "POST /containers/{id}/pause",
    "POST /containers/{id}/rename",
    "POST /containers/{id}/resize",
    "POST /containers/{id}/restart",
    "POST /containers/{id}/unpause",
    "POST /containers/{id}/update",
    "POST /containers/prune",
    "GET /distribution/{name:.+}/json",
    "GET /events",
    "GET /exec/{id}/json",
    "POST /exec/{id}/resize",
    "POST /exec/{id}/start",
    "GET /images/{name:.+}/get",
    "GET /images/{name:.+}/history",
    "GET /images/get",
    "GET /images/search",
    "POST /auth",
    "POST /build/prune",
    "POST /commit",
    "POST /images/{name:.+}/push",
    "POST /images/{name:.+}/tag",
    "POST /images/load",
    "POST /images/prune",
    "POST /session",
    "GET /system/df",
    "* /configs{rest:.*}",
    "* /networks{rest:.*}",
    "* /nodes{rest:.*}",
    "* /plugins{rest:.*}",
    "* /secrets{rest:.*}",
    "* /services{rest:.*}",
    "* /swarm{rest:.*}",
    "* /tasks{rest:.*}",
    "* /volumes{rest:.*}",
)

# The limit of bodies that are read whole; archives are streams with limits of their own.
_BODY_BYTES = 1024 * 1024
_VERSION = r"/v{api_version:1\.\d+}"


async def not_implemented(request: web.Request) -> web.Response:
    """Refuse any call of NOT_IMPLEMENTED — 501."""
    raise Unsupported(
        f"{request.method} {request.path} is not part of what Peitho does: it builds and runs "
        "Hyperledger Fabric chaincode on Kubernetes (use kubectl for the rest)"
    )


def application(everything: Services, calls: OpenCalls) -> web.Application:
    """Make the Docker API's application."""
    app = web.Application(middlewares=[answer, calls.count, seen], client_max_size=_BODY_BYTES)
    app[SERVICES] = everything
    app.on_response_prepare.append(add_headers)
    for method, path, handler in ROUTES:
        for prefix in ("", _VERSION):
            if method == "GET":
                app.router.add_get(f"{prefix}{path}", handler, allow_head=True)
            else:
                app.router.add_route(method, f"{prefix}{path}", handler)
    for entry in NOT_IMPLEMENTED:
        method, _, path = entry.partition(" ")
        for prefix in ("", _VERSION):
            app.router.add_route(method, f"{prefix}{path}", not_implemented)
    return app
