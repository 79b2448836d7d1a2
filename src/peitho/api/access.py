"""Who is answered at the Docker API."""

from aiohttp import web

from peitho.api import system
from peitho.api.middleware import Handler
from peitho.errors import Forbidden


@web.middleware
async def need_certificate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """
    Answer whoever shows a certificate of the client CA; `/_ping` is for anybody.

    A certificate of another CA ends the handshake, so one that is here is good. Raises Forbidden.
    """
    if request.match_info.handler is not system.ping and not request.get_extra_info("peercert"):
        raise Forbidden(
            "a client certificate is needed: set CORE_VM_DOCKER_TLS_ENABLED, _CERT_FILE and "
            "_KEY_FILE of the peer",
            reason="certificate",
        )
    return await handler(request)
