"""
The Docker Engine API on one page: calls that are answered, with their options, and the others.

Each path is there twice, bare and below `/v1.NN`, for the three generations of peers' clients.
"""

from aiohttp import web

from peitho.api import access, archives, attach, containers, images, system
from peitho.api.access import Tenants
from peitho.api.bodies import BODY_MEMORY, Bodies, BodyMemory
from peitho.api.calls import OpenCalls
from peitho.api.middleware import add_headers, answer, seen
from peitho.api.options import NONE, OptionCheck, Options
from peitho.api.pace import BODY
from peitho.api.services import SERVICES, Services
from peitho.errors import Unsupported
from peitho.formats.docker import forbidden

# What the CLI and docker-py send as platform where people ask for their own.
_OWN_PLATFORM = ("linux", f"linux/{system.architecture()}")

# https://docs.docker.com/reference/api/engine/
ROUTES = (
    ("GET", "/_ping", system.ping, NONE),
    ("GET", "/version", system.version, NONE),
    ("GET", "/info", system.info, NONE),
    (
        "POST",
        "/containers/create",
        containers.create,
        Options("name", refused="platform", passing={"platform": _OWN_PLATFORM}),
    ),
    (
        "GET",
        "/containers/json",
        containers.list_all,
        Options(
            "all before filters limit since size",
            any_value="trunc_cmd",  # of old clients; dockerd does not read it either
        ),
    ),
    ("GET", "/containers/{id}/json", containers.inspect, Options("size")),
    (
        "PUT",
        "/containers/{id}/archive",
        archives.put,
        # An upload never puts a file in place of a directory.
        Options("path", any_value="noOverwriteDirNonDir", refused="copyUIDGID"),
    ),
    ("GET", "/containers/{id}/archive", archives.get, Options("path")),
    (
        "POST",
        "/containers/{id}/attach",
        attach.attach,
        Options("logs stderr stdout stream", refused="detachKeys stdin"),
    ),
    (
        "GET",
        "/containers/{id}/logs",
        containers.logs,
        Options("follow since stderr stdout tail timestamps until", refused="details"),
    ),
    (
        "POST",
        "/containers/{id}/start",
        containers.start,
        Options(refused="checkpoint checkpoint-dir detachKeys"),
    ),
    ("POST", "/containers/{id}/stop", containers.stop, Options("signal t")),
    ("POST", "/containers/{id}/kill", containers.kill, Options("signal")),
    ("POST", "/containers/{id}/wait", containers.wait, Options("condition")),
    (
        "DELETE",
        "/containers/{id}",
        containers.remove,
        # A Pod's volumes go with it.
        Options("force", any_value="v", refused="link"),
    ),
    (
        "POST",
        "/build",
        images.build,
        Options(
            "dockerfile t",
            # No command runs while an image is put together, no container is left of it, and
            # nothing of it is cached.
            any_value="cachefrom cpuperiod cpuquota cpusetcpus cpusetmems cpushares extrahosts "
            "forcerm isolation memory memswap nocache rm shmsize ulimits",
            forbidden={
                "cgroupparent": forbidden.HOST_CONFIG["CgroupParent"],
                "networkmode": forbidden.HOST_CONFIG["NetworkMode"],
                "securityopt": forbidden.HOST_CONFIG["SecurityOpt"],
            },
            refused="buildargs buildid labels outputs platform pull q remote session squash target "
            "version",
            passing={"platform": _OWN_PLATFORM, "version": ("1",)},
        ),
    ),
    (
        "POST",
        "/images/create",
        images.pull,
        Options(
            "fromImage tag",
            refused="changes fromSrc message platform repo",
            passing={"platform": _OWN_PLATFORM},
        ),
    ),
    (
        "GET",
        "/images/json",
        images.list_all,
        Options(
            "filters",
            # There are no images between: each is one layer on its runtime image.  `only_ids` is
            # of old clients; dockerd does not read it either.
            any_value="all only_ids",
            refused="digests filter manifests shared-size",
        ),
    ),
    ("GET", "/images/{name:.+}/json", images.inspect, Options(refused="manifests platform")),
    (
        "DELETE",
        "/images/{name:.+}",
        images.remove,
        # An image of Peitho's has no parents of its own that could be kept.
        Options("force", any_value="noprune", refused="platforms"),
    ),
)

# These last as long as a container does.
LONG = (attach.attach, containers.logs, containers.wait)

# The calls that take a body, and how slowly it may come.
BODIES = {
    containers.create: BODY,
    containers.start: BODY,
    archives.put: BODY,
    images.build: images.BUILD_PACE,
}

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


def application(
    served: Services | Tenants, calls: OpenCalls, *, need_certificate: bool = False
) -> web.Application:
    """
    Make the Docker API's application, for whoever calls or for those with a certificate.

    It has the parts of one, or those of all tenants and leads each call to its own.
    """
    options = OptionCheck({handler: options for _, _, handler, options in ROUTES})
    app = web.Application(
        middlewares=[
            answer,
            *([served.lead] if isinstance(served, Tenants) else []),
            *([access.need_certificate] if need_certificate else []),
            Bodies(BODIES).expect,
            options.check,
            calls.count,
            seen,
        ],
        client_max_size=_BODY_BYTES,
    )
    if isinstance(served, Services):
        app[SERVICES] = served
    app[BODY_MEMORY] = BodyMemory()
    app.on_response_prepare.append(add_headers)
    for method, path, handler, _ in ROUTES:
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
