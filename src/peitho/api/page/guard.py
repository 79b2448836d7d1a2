"""
Who may read the status page: whoever has the token, or anybody.

Unlike metrics and health it tells names and logs. Where nothing is set for it, it is as open as the
Docker API is, which tells the same.
"""

import asyncio
import base64
import binascii
import hmac
from dataclasses import dataclass
from pathlib import Path

import structlog
from aiohttp import web

from peitho import audit, metrics
from peitho.settings.live import Live

log = structlog.get_logger()

_LONGEST_BYTES = 4096
_UNASKED = {"WWW-Authenticate": 'Basic realm="Peitho", charset="UTF-8"'}


@dataclass(frozen=True, slots=True)
class PageAccess:
    """What is asked for: the token in a file, which nobody has without one, unless it `is_open`."""

    token_file: Path | None = None
    is_open: bool = True


class Guard:
    """Lets those in who may read the page."""

    def __init__(self, access: Live[PageAccess]) -> None:
        self._access = access
        self._told = ""

    async def refused(self, request: web.Request) -> web.Response | None:
        """Return the refusal of a request, or None."""
        access = self._access.now
        if access.is_open:
            return None
        given = _given(request.headers.get("Authorization", ""))
        token = await asyncio.to_thread(self._token, access.token_file)
        if token and hmac.compare_digest(given, token):
            return None
        if given:
            metrics.REFUSED.labels("token").inc()
            audit.record(
                "refused", outcome="not the token", call="GET status page", by=_by(request)
            )
        return web.Response(status=401, headers=_UNASKED, text=f"{_wanted(access)}\n")

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


def _wanted(access: PageAccess) -> str:
    if access.token_file:
        return (
            "The status page needs the token: as the password in a browser, with any name, or as "
            "Authorization: Bearer"
        )
    return (
        "The status page is closed, since the Docker API is not open to the network either "
        "(server.tls, server.api): set server.operationsTokenFile"
    )


def _by(request: web.Request) -> audit.Caller:
    return audit.Caller(request.remote or "")
