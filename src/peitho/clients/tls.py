"""Certificates in files: they are renewed while Peitho runs, and new connections have these."""

import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import structlog

from peitho import metrics
from peitho.errors import Unavailable
from peitho.formats import certificates

log = structlog.get_logger()

_Mark = tuple[int, int, int]


class ServerTls(Protocol):
    """A server's certificate, whoever renews it."""

    def context(self) -> ssl.SSLContext:
        """Return what a new connection is made with."""
        ...


@dataclass(slots=True)
class CertificateFiles:
    """
    PEM files as what TLS connections are made with, by default by a client; any may be absent.

    `what` is what errors name, `name` what their expiry is known by; without one it is not read.
    The authorities of `ca` are trusted alone, or `beside_system`.
    """

    what: str
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    beside_system: bool = False
    is_server: bool = False
    name: str = ""
    _marks: list[_Mark | None] = field(default_factory=list)
    _context: ssl.SSLContext | None = None
    _expiries: dict[str, float] = field(default_factory=dict)

    def context(self) -> ssl.SSLContext:
        """
        As the files are now, and the same object for as long as they are.

        Files that cannot be used leave the last that could, as while a Secret is changed; without
        such, Unavailable is raised.  Both name the files, not what is in them.
        """
        paths = [path for path in (self.ca, self.certificate, self.key) if path]
        # Before they are read: what changes meanwhile is read again at the next call.
        marks = [_mark(path) for path in paths]
        if self._context and marks == self._marks:
            return self._context
        self._marks = marks
        try:
            self._context = self._read()
        except OSError as error:  # an SSLError is one, too
            if not isinstance(error, ssl.SSLError | FileNotFoundError):
                self._marks = []  # what is wrong is not the files, and no mark shows its end
            named = ", ".join(str(path) for path in paths)
            if self._context is None:
                raise Unavailable(f"{self.what} cannot be used ({named}): {error}") from error
            log.warning("certificates not read", what=self.what, files=named, cause=str(error))
        return self._context

    def expiries(self) -> dict[str, float]:
        """Return when each certificate expires, in Unix seconds, as the files were last read."""
        return dict(self._expiries)

    def _read(self) -> ssl.SSLContext:
        context = server_context(self.ca) if self.is_server else self._client()
        if self.certificate:
            context.load_cert_chain(self.certificate, self.key)
        if self.name:
            self._note_expiries()
        return context

    def _note_expiries(self) -> None:
        for name, path in ((self.name, self.certificate), (f"{self.name} CA", self.ca)):
            if path and (expires_at := _expiry(path)):
                self._expiries[name] = expires_at
                metrics.CERTIFICATE_EXPIRY.labels(name).set(expires_at)

    def _client(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=None if self.beside_system else self.ca)
        if self.beside_system and self.ca:
            context.load_verify_locations(self.ca)
        return as_peers_verify(context)


def server_context(client_ca: Path | None = None) -> ssl.SSLContext:
    """
    Return what a server without a certificate yet makes connections with: TLS 1.2 and 1.3.

    With an authority, a client may show a certificate of it.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=client_ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    if client_ca:
        context.verify_mode = ssl.CERT_OPTIONAL
    return as_peers_verify(context)


def as_peers_verify(context: ssl.SSLContext) -> ssl.SSLContext:
    """
    Have certificates judged as Go's crypto/x509 does, in which peers and API servers are written.

    From Python 3.13 on a context asks for more (VERIFY_X509_STRICT): a certificate without an
    authority's key identifier, as older clusters have, would be refused by some Pythons.
    """
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _expiry(path: Path) -> float | None:
    """When the first certificate of a file expires; None where that cannot be read."""
    with suppress(OSError, ValueError):
        return certificates.first_expiry(path.read_bytes())
    return None


def _mark(path: Path) -> _Mark | None:
    """What changes with a file, also where a link leads to another one; None if it is away."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size
