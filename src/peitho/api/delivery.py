"""
The delivery listener: Pods download layers and uploads, and send output and results.

Each call carries a token (`Authorization: Bearer`) for exactly one blob or one build.  It ends with
the build, or with the chaincode's need of its layer.
"""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import replace

from aiohttp import web

from peitho import audit
from peitho.api.bodies import Bodies, chunks, send_file
from peitho.api.middleware import answer, json_response
from peitho.api.pace import BODY, BodyPace
from peitho.api.services import OWN_SERVICES, Services, services
from peitho.core.builds.build import OUTPUT_DIRECTORY, Build
from peitho.core.pods.tokens import Holder, blob_scope, build_scope, tenant_of
from peitho.errors import InvalidArgument, NotFound
from peitho.formats.images import architectures

_EXIT_BYTES = 16
_LAST_EXIT_CODE = 255
_ENDED = "this token has ended: its container has, or was removed, or has long had this"
# A compiler may say nothing for as long as its build may take; its token ends with the build.
_LOG_PACE = BodyPace(silent_seconds=math.inf, window_seconds=math.inf, window_bytes=0)


class _Forbidden(NotFound):
    """The token is not for this; the answer does not tell whether the thing exists."""

    status = 403
    refused = "token"


async def blob(request: web.Request) -> web.StreamResponse:
    """GET /blobs/{digest} — 200; 403; 404, also if the blob is damaged; 503."""
    digest = request.match_info["digest"]
    holder = _holder(request, blob_scope(digest))
    if not await services(request).containers.awaits_layer(holder):
        raise _Forbidden(_ENDED)
    path = await asyncio.to_thread(services(request).storage.verified_blob, digest, anew=True)
    if path is None:
        raise NotFound(f"No such blob: {digest}")

    return await send_file(request, path)


async def build(request: web.Request) -> web.Response:
    """GET /builds/{id} — 200: what the helper has to fetch, and where the output will be."""
    running = _build(request)
    uploads = [{"number": n, "path": upload.path} for n, upload in enumerate(running.uploads)]

    about = {"uploads": uploads, "output": OUTPUT_DIRECTORY, "compiled": bool(running.compiled_key)}
    return json_response(about | ({"packages": True} if running.packages_key else {}))


async def upload(request: web.Request) -> web.StreamResponse:
    """GET /builds/{id}/uploads/{number} — 200: an archive as the peer sent it; 404."""
    uploads, number = _build(request).uploads, int(request.match_info["number"])
    if number >= len(uploads):
        raise NotFound(f"No such upload: {number}")

    return await send_file(request, uploads[number].archive)


async def compiled(request: web.Request) -> web.StreamResponse:
    """GET /builds/{id}/compiled — 200: a tar of what Go compiled before; 404: nothing yet."""
    running = _build(request)
    archive = await services(request).builds.pool.compiled(running)
    if archive is None:
        raise NotFound(f"Nothing was compiled before for {running.spec.image}")

    return await send_file(request, archive)


async def packages(request: web.Request) -> web.StreamResponse:
    """GET /builds/{id}/packages — 200: a tar of what builds downloaded before; 404: nothing yet."""
    running = _build(request)
    archive = await services(request).builds.pool.packages(running)
    if archive is None:
        raise NotFound(f"Nothing was downloaded before for {running.spec.image}")

    return await send_file(request, archive)


async def save_packages(request: web.Request) -> web.Response:
    """PUT /builds/{id}/packages — 200: a tar of what a build that is done downloaded; 400; 409."""
    running = _build(request)

    await services(request).builds.pool.save_packages(running, chunks(request))

    return web.Response()


async def log(request: web.Request) -> web.Response:
    """POST /builds/{id}/log — 200: Docker frames, as the command says them."""
    await _build(request).append_output(chunks(request))

    return web.Response()


async def exit_code(request: web.Request) -> web.Response:
    """PUT /builds/{id}/exit — 200: the command's exit code, in decimal digits."""
    running = _build(request)
    code = read_exit_code(await request.content.read(_EXIT_BYTES))

    running.set_exit_code(code)

    return web.Response()


async def result(request: web.Request) -> web.Response:
    """PUT /builds/{id}/result?architecture= — 200: a tar of the output directory; 400."""
    architecture = architectures.checked(request.query.get("architecture", ""))

    running = _build(request)
    pool = services(request).builds.pool

    await pool.save_result(running, chunks(request), architecture)

    return web.Response()


def read_exit_code(text: bytes) -> int:
    """Read an exit code in decimal digits. Raises InvalidArgument."""
    code = int(text) if text.strip().isdigit() else -1
    if not 0 <= code <= _LAST_EXIT_CODE:
        raise InvalidArgument(f"not an exit code: {text!r}")
    return code


_TENANTS = web.AppKey("tenants", dict[str, Services])


def application(tenants: Mapping[str, Services]) -> web.Application:
    """Make the delivery listener's application, over the parts of all tenants by name."""
    bodies = Bodies({log: _LOG_PACE, exit_code: BODY, result: BODY, save_packages: BODY})
    app = web.Application(middlewares=[answer, bodies.expect])
    app[_TENANTS] = dict(tenants)
    app.add_routes(
        [
            web.get("/blobs/{digest}", blob, allow_head=False),
            web.get("/builds/{id}", build, allow_head=False),
            web.get(r"/builds/{id}/uploads/{number:\d{1,4}}", upload, allow_head=False),
            web.get("/builds/{id}/compiled", compiled, allow_head=False),
            web.get("/builds/{id}/packages", packages, allow_head=False),
            web.put("/builds/{id}/packages", save_packages),
            web.post("/builds/{id}/log", log),
            web.put("/builds/{id}/exit", exit_code),
            web.put("/builds/{id}/result", result),
        ]
    )
    return app


def _build(request: web.Request) -> Build:
    build_id = request.match_info["id"]
    _holder(request, build_scope(build_id))
    try:
        return services(request).builds.pool.get(build_id)
    except NotFound as error:
        raise _Forbidden(_ENDED) from error


def _holder(request: web.Request, scope: str) -> Holder:
    """
    Return whose token a call carries, and lead the call to the tenant that the token names.

    Each has a key of its own. Raises _Forbidden if the token is not for this.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    tenant = tenant_of(token)
    own = request.app[_TENANTS].get(tenant) if scheme == "Bearer" else None
    holder = own.tokens.holder(token, scope) if own else None
    if own is None or holder is None:
        raise _Forbidden("this token does not open this")
    request[OWN_SERVICES] = own
    audit.set_caller(replace(audit.caller(), tenant=tenant))
    return holder
