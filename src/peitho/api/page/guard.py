"""
Who may read the status page and metrics: whoever has the token or a certificate, or anybody.

Unlike health they tell what Peitho does, and the page names and logs.  Where nothing is set for the
page, it is as open as the Docker API is, which tells the same.
"""

import asyncio
import base64
import binascii
import hmac
import ipaddress
from dataclasses import dataclass
from pathlib import Path

import structlog
from aiohttp import web

from peitho import audit, metrics
from peitho.api.certificates import Certificate
from peitho.formats import stars
from peitho.settings.live import Live

log = structlog.get_logger()

PAGE = "status page"
METRICS = "metrics"

_LONGEST_BYTES = 4096
_UNASKED = {"WWW-Authenticate": 'Basic realm="Peitho", charset="UTF-8"'}


@dataclass(frozen=True, slots=True)
class PageAccess:
    """
    What is asked for: the token in a file, which nobody has without one, unless it `is_open`.

    Where it `takes_certificates`, one that the listener's TLS has found good does as well, and
    metrics ask for either, too.  `hosts` are names by which an open page is called.
    """

    token_file: Path | None = None
    is_open: bool = True
    takes_certificates: bool = False
    hosts: tuple[str, ...] = ()


class Guard:
    """Lets those in who may read the page, or the metrics."""

    def __init__(self, access: Live[PageAccess]) -> None:
        self._access = access
        self._told = ""

    async def refused(self, request: web.Request) -> web.Response | None:
        """Return the refusal of a request for the page, or None."""
        access = self._access.now
        if not access.is_open:
            return await self._unknown(request, access, PAGE)
        if request.secure or _is_own(request.headers.get("Host", ""), access.hosts):
            return None
        return _foreign_host(request)

    async def metrics_refused(self, request: web.Request) -> web.Response | None:
        """Return the refusal of a request for metrics, or None."""
        access = self._access.now
        if not access.takes_certificates:
            return None
        return await self._unknown(request, access, METRICS)

    async def _unknown(
        self, request: web.Request, access: PageAccess, what: str
    ) -> web.Response | None:
        """Return the refusal of whoever has neither the token nor a certificate, or None."""
        if access.takes_certificates and Certificate.of(request).is_shown:
            return None
        given = _given(request.headers.get("Authorization", ""))
        token = await asyncio.to_thread(self._token, access.token_file)
        if token and hmac.compare_digest(given, token):
            return None
        if given:
            _note(request, "token", "not the token", what)
        said = f"{_wanted(access, what)}\n"
        if access.takes_certificates and not access.token_file:  # no password would help
            if not given:
                _note(request, "certificate", "no certificate", what)
            return web.Response(status=403, text=said)
        return web.Response(status=401, headers=_UNASKED, text=said)

    def _token(self, file: Path | None) -> bytes:
        """Return the token; an empty one, which nobody has, if it cannot be read."""
        if file is None:
            return b""
        try:
            with file.open("rb") as opened:
                token = opened.read(_LONGEST_BYTES).strip()
        except OSError as error:
            self._tell(file, error.strerror or type(error).__name__)
            return b""
        self._tell(file, "" if token else "it is empty")
        return token

    def _tell(self, file: Path, cause: str) -> None:
        """Log once why the file gives no token."""
        if cause and cause != self._told:
            log.warning("token of the status page not read", file=str(file), cause=cause)
        self._told = cause


def _is_own(header: str, hosts: tuple[str, ...]) -> bool:
    """
    Whether a `Host` header is an address, or a name that is this machine's or known.

    A website whose name server leads its own name here, at `localhost` behind `kubectl
    port-forward` for instance, is the same origin as the page to a browser, and could read it.
    It needs a name for that; what is no browser may send no header at all.
    """
    bracketed = header.removeprefix("[").partition("]")[0]
    host = bracketed if header.startswith("[") else header.partition(":")[0]
    host = host.lower().removesuffix(".")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        # RFC 6761, section 6.3: browsers do not ask a name server for those.
        own = ("localhost", "*.localhost", *hosts)
        return not header or any(stars.matches(pattern, host) for pattern in own)
    return True


def _foreign_host(request: web.Request) -> web.Response:
    _note(request, "other", "not a name of this host", PAGE)
    return web.Response(
        status=403,
        text="The status page is open, and so not for names that anybody could lead here: call it "
        "by an address or as localhost, or name the host in server.operationsHosts\n",
    )


def _given(header: str) -> bytes:
    """The token of an `Authorization` header, which may be any text; browsers send it as Basic."""
    scheme, _, said = header.partition(" ")
    said = said.strip()
    if scheme.lower() == "bearer":
        return said.encode(errors="replace")
    if scheme.lower() != "basic":
        return b""
    try:
        decoded = base64.b64decode(said.encode(errors="replace"), validate=True)
    except (binascii.Error, ValueError):
        return b""
    return decoded.partition(b":")[2]


def _wanted(access: PageAccess, what: str) -> str:
    ways = []
    if access.takes_certificates:
        ways.append("a certificate of a CA in server.operationsTls.client-ca-file")
    if access.token_file:
        ways.append(
            "the token, as the password in a browser, with any name, or as Authorization: Bearer"
        )
    if ways:
        return f"Needed for the {what}: {'; or '.join(ways)}"
    return (
        "The status page is closed, since the Docker API is not open to the network either "
        "(server.tls, server.api): set server.operationsTokenFile, or a client-ca-file in "
        "server.operationsTls"
    )


def _note(request: web.Request, reason: str, outcome: str, what: str) -> None:
    """Count a refusal, and have the audit trail tell it."""
    metrics.REFUSED.labels(reason).inc()
    by = audit.Caller(request.remote or "")
    audit.record("refused", outcome=outcome, call=f"GET {what}", by=by)
