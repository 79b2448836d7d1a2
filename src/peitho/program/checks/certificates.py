"""Certificates in files: can they be used, for how long, for which names, and with these keys?"""

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from peitho.clients.docker import DaemonTlsFiles
from peitho.clients.tls import CertificateFiles
from peitho.errors import PeithoError
from peitho.program import composition
from peitho.program.checks.finding import Finding, ok, warning, wrong
from peitho.settings.models import Settings

_NAME = "certificates"
_DAY_SECONDS = 86_400
_SOON_DAYS = 14


def certificates(settings: Settings) -> Iterator[Finding]:
    """Tell of each certificate that the settings name."""
    tls, operations = settings.server.tls, settings.server.operations_tls
    docker = settings.docker
    yield from _problem("server.tls", lambda: composition.api_tls(tls))
    yield from _problem("server.operationsTls", lambda: composition.operations_tls(operations))
    daemon = DaemonTlsFiles(docker.ca_file, docker.cert_file, docker.key_file).trust()
    if daemon:
        yield from _problem("docker", daemon.context)
    if authority := docker.registry.ca_file:
        registry = CertificateFiles("docker.registry.ca-file", ca=authority)
        yield from _problem("docker.registry", registry.context)
    yield from _of_file("server.tls.cert-file", tls.cert_file, named=_FOR_PEERS)
    yield from _of_file("server.tls.client-ca-file", tls.client_ca_file)
    yield from _of_file("server.operationsTls.cert-file", operations.cert_file, named=_FOR_READERS)
    yield from _of_file("server.operationsTls.client-ca-file", operations.client_ca_file)
    yield from _of_file("docker.ca-file", docker.ca_file)
    yield from _of_file("docker.cert-file", docker.cert_file)
    yield from _of_file("docker.registry.ca-file", docker.registry.ca_file)


def _problem(what: str, read: Callable[[], object]) -> Iterator[Finding]:
    """Tell what keeps files from being used: a key of another certificate, most often."""
    try:
        read()
    except PeithoError as error:
        cause = str(error)
        mismatch = " (the key is not that of the certificate)" if "MISMATCH" in cause else ""
        yield wrong(
            _NAME,
            f"{what}: {cause}{mismatch}",
            "name files in PEM that are there, and the certificate's own key",
        )


@dataclass(frozen=True, slots=True)
class _Named:
    """Who takes no server's certificate without names, and which names it needs."""

    by: str
    host: str


_FOR_PEERS = _Named("no peer takes it", "the host of CORE_VM_ENDPOINT")
_FOR_READERS = _Named(
    "no browser and no Prometheus takes it", "the Service's name, and those that browsers call"
)


def _of_file(key: str, path: Path | None, *, named: _Named | None = None) -> Iterator[Finding]:
    """
    Tell of the certificates in a file, if there is one; a server's is `named`.

    Of one that cannot be read `_problem` has told.
    """
    if path is None:
        return
    found: list[x509.Certificate] = []
    with suppress(OSError, ValueError):
        found = x509.load_pem_x509_certificates(path.read_bytes())
    for number, certificate in enumerate(found):
        said = f"{key} ({certificate.subject.rfc4514_string() or 'without a name'})"
        yield _life(said, certificate)
        if named and number == 0 and not _names(certificate):
            yield wrong(
                _NAME,
                f"{said}: has no names (subjectAltName), so {named.by}",
                f"have it issued for {named.host}",
            )
    if named and len(found) > 1 and not _is_chain(found):
        yield wrong(
            _NAME,
            f"{key}: its certificates are not in order, each issued by the next",
            "put the server's own first, and then the one that issued it",
        )


def _life(said: str, certificate: x509.Certificate) -> Finding:
    now = time.time()
    begins, ends = (
        certificate.not_valid_before_utc.timestamp(),
        certificate.not_valid_after_utc.timestamp(),
    )
    until = f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
    if now < begins:
        return wrong(_NAME, f"{said}: is not good yet", "see to the clock, or to who issued it")
    if now >= ends:
        return wrong(_NAME, f"{said}: has ended, at {until}", "renew it")
    names = _names(certificate)
    for_names = f", for {', '.join(names)}" if names else ""
    if ends - now < _SOON_DAYS * _DAY_SECONDS:
        days = (ends - now) / _DAY_SECONDS
        return warning(_NAME, f"{said}: ends in {days:.1f} days, at {until}", "renew it")
    return ok(_NAME, f"{said}: good until {until}{for_names}")


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        extension = certificate.extensions.get_extension_for_oid(
            ExtensionOID.SUBJECT_ALTERNATIVE_NAME
        )
    except (x509.ExtensionNotFound, ValueError):
        return []
    value = extension.value
    if not isinstance(value, x509.SubjectAlternativeName):
        return []
    addresses = value.get_values_for_type(x509.IPAddress)
    return [*value.get_values_for_type(x509.DNSName), *map(str, addresses)]


def _is_chain(found: list[x509.Certificate]) -> bool:
    return all(own.issuer == above.subject for own, above in itertools.pairwise(found))
