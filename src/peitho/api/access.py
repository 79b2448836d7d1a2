"""Who is answered at the Docker API, and by which tenant's parts."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import structlog
from aiohttp import web

from peitho import audit
from peitho.api import system
from peitho.api.certificates import Certificate
from peitho.api.middleware import Handler
from peitho.api.services import OWN_SERVICES, Services
from peitho.errors import Forbidden
from peitho.formats.bounded_dict import BoundedDict
from peitho.settings.live import Live
from peitho.settings.models import TenantSettings

log = structlog.get_logger()

_REMEMBERED = 1000
# A peer that is refused asks again and again.
_TOLD_SECONDS = 60.0


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


@dataclass(frozen=True, slots=True)
class Tenants:
    """
    The parts of each tenant, by name, and by which certificates tenants are known.

    A call has the parts of its tenant and no way to another's, so nobody has to ask whose a thing
    is.
    """

    parts: Mapping[str, Services]
    known_by: Live[Mapping[str, TenantSettings]]
    _told: BoundedDict[str, float] = field(default_factory=lambda: BoundedDict(_REMEMBERED))

    @web.middleware
    async def lead(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """
        Lead a call to its tenant (a middleware), by the certificate of its connection.

        `/_ping` is for anybody, and who shows no certificate is no tenant. Raises Forbidden for a
        certificate that no rule matches, and for one that is several tenants': whoever is taken for
        another sees what is not theirs.
        """
        certificate = Certificate.of(request)
        found = [
            name
            for name, tenant in self.known_by.now.items()
            if any(certificate.fits(rule) for rule in tenant.match)
        ]
        if len(found) == 1 and found[0] in self.parts:
            request[OWN_SERVICES] = self.parts[found[0]]
            audit.set_caller(replace(audit.caller(), tenant=found[0]))
            with structlog.contextvars.bound_contextvars(tenant=found[0]):
                return await handler(request)
        audit.set_caller(replace(audit.caller(), tenant=""))
        if request.match_info.handler is system.ping or not certificate.is_shown:
            return await handler(request)  # nobody's; a certificate is asked for next
        self._tell(certificate.subject, found, request.remote or "")
        which = "more than one tenant's rules match" if found else "no tenant's rules match"
        raise Forbidden(
            f"{which} the certificate {certificate.subject!r} (access.tenants of Peitho's "
            "settings)",
            reason="certificate",
        )

    def _tell(self, subject: str, found: list[str], peer: str) -> None:
        """Log a certificate that is refused, each once in a while."""
        now = asyncio.get_running_loop().time()
        if now - self._told.get(subject, -_TOLD_SECONDS) >= _TOLD_SECONDS:
            self._told[subject] = now
            log.warning("certificate refused", subject=subject, tenants=found, peer=peer)
