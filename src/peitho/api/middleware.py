"""
The middleware of the Docker API: Docker's headers, errors as statuses, one log line a call.

Nothing here awaits before the handler runs: `attach` must take its connection over at once.
"""

import json
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable

import structlog
from aiohttp import web

from peitho import __version__, audit, metrics
from peitho.api.certificates import Certificate
from peitho.api.services import OWN_SERVICES, is_known, services
from peitho.clients.turns import in_turns
from peitho.errors import Forbidden, PeithoError

log = structlog.get_logger()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# HTTP has no status for a peer that hung up; this is nginx's.
HUNG_UP = 499
# The newest generation of peers' client wants 1.44 to 1.52 (2.5.15 and later), the others less.
API_VERSION = "1.47"
MINIMUM_API_VERSION = "1.24"
# What a metric is counted by: any other word may be a caller's own.
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
# An error may repeat what a body says, or what a build said.
_CAUSE_CHARACTERS = 4000
HEADERS = {
    "Api-Version": API_VERSION,
    "Docker-Experimental": "false",
    "Ostype": "linux",
    "Server": f"Peitho/{__version__} (linux)",
}


@web.middleware
async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Run the handler; whatever goes wrong becomes Docker's JSON error, with its cause."""
    began = time.monotonic()
    audit.set_caller(_caller(request))
    status = HUNG_UP
    cause = ""
    try:
        try:
            response = await handler(request)
        except PeithoError as error:
            cause = str(error)
            response = error_response(error.status, cause)
            if error.refused:
                metrics.REFUSED.labels(error.refused).inc()
            if error.status == Forbidden.status:
                audit.record("refused", outcome=cause, call=f"{request.method} {request.path}")
        except web.HTTPException as error:
            cause = error.text or error.reason
            response = error_response(error.status, cause)
        except ConnectionResetError:
            raise
        except Exception as error:
            log.exception("request failed", method=request.method, path=request.path)
            cause = f"Peitho failed, see its log: {type(error).__name__}: {error}"
            response = error_response(500, cause)
        status = response.status
        if request.content.exception():  # of what follows in the body, nothing is read
            response.force_close()
        if cause and request.writer.output_size and request.transport:
            # The head was sent: a second one would lie in the middle of the body, so break off.
            request.transport.close()
        return response
    finally:
        _account(request, status=status, cause=cause, seconds=time.monotonic() - began)


@web.middleware
async def seen(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count the peer as there while its request is open."""
    if not is_known(request):
        return await handler(request)
    with services(request).usage.serving(request.remote or ""):
        return await handler(request)


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Add the headers that dockerd puts on every answer."""
    del request
    response.headers.update(HEADERS)


def error_response(status: int, message: str) -> web.Response:
    """Make Docker's error answer; with a charset in its Content-Type, peers would not read it."""
    return json_response({"message": message}, status=status)


def json_response(value: object, *, status: int = 200) -> web.Response:
    """Make a JSON answer whose Content-Type is exactly `application/json`."""
    return web.Response(
        status=status,
        body=json.dumps(value).encode() + b"\n",
        headers={"Content-Type": "application/json"},
    )


async def list_response(entries: Iterable[object]) -> web.Response:
    """Make a JSON answer of a list; thousands of entries are written in several turns."""
    written = [json.dumps(entry).encode() async for entry in in_turns(entries)]
    return web.Response(
        body=b"[" + b", ".join(written) + b"]\n", headers={"Content-Type": "application/json"}
    )


def _caller(request: web.Request) -> audit.Caller:
    """Who asks; the subject is written as openssl writes it (`CN=peer0,O=org1`)."""
    certificate = Certificate.of(request)
    return audit.Caller(request.remote or "", certificate.subject, request=secrets.token_hex(8))


def _account(request: web.Request, *, status: int, cause: str, seconds: float) -> None:
    resource = request.match_info.route.resource
    method = request.method if request.method in _METHODS else "other"
    route = f"{method} {resource.canonical if resource else 'unknown'}"
    metrics.REQUESTS.labels(route, status).inc()
    metrics.REQUEST_SECONDS.labels(route).observe(seconds)
    is_ping = resource is not None and resource.canonical.endswith("/_ping")
    write = log.debug if is_ping or status == HUNG_UP else log.info
    write(
        "request answered",
        method=request.method,
        path=request.path,
        status=status,
        peer=request.remote,
        request=audit.caller().request,
        **({"tenant": audit.caller().tenant} if OWN_SERVICES in request else {}),
        duration_seconds=round(seconds, 3),
        **({"cause": cause[:_CAUSE_CHARACTERS]} if cause else {}),
    )
