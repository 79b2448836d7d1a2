"""
Peitho's own certificate authority, and the certificate of the delivery listener that it issues.

Pods get the authority's certificate beside their token, and trust no other.  It lasts for decades;
the listener's certificate lasts for weeks, has a key that is in memory alone, and is made anew long
before its end, at a start, and for a new address: nobody has to be told.
"""

import ipaddress
import json
import os
import ssl
import time
import urllib.parse
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from peitho import metrics
from peitho.clients import tls
from peitho.formats import certificates
from peitho.settings.live import Live

log = structlog.get_logger()

_AUTHORITY_DAYS = 30 * 365
_LEAF_DAYS = 30
_RENEWED_AFTER_SECONDS = 10 * 86_400.0
# The clock of a node may be behind ours.
_BACKDATED = timedelta(days=1)


class DamagedAuthorityError(ValueError):
    """What was kept is no authority that could issue anything; it says why."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate that signs others, and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def make(cls, now: float) -> "Authority":
        """Make a new one at a Unix time."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("Peitho's delivery CA")
        builder = (
            _builder(name, name, key, now, days=_AUTHORITY_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        )
        return cls(builder.sign(key, hashes.SHA256()), key)

    @classmethod
    def from_json(cls, content: bytes) -> "Authority":
        """Read one, as `to_json` wrote it. Raises DamagedAuthorityError."""
        try:
            fields = json.loads(content)
            certificate = x509.load_pem_x509_certificate(fields["certificate"].encode())
            key = serialization.load_pem_private_key(fields["key"].encode(), password=None)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedAuthorityError("it holds no certificate with its key") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise DamagedAuthorityError("its key is of another kind")
        if key.public_key() != certificate.public_key():
            raise DamagedAuthorityError("its key is not that of its certificate")
        return cls(certificate, key)

    def to_json(self) -> bytes:
        """Return all of it, the key too."""
        return json.dumps({"certificate": self.pem, "key": _key_pem(self.key).decode()}).encode()

    @property
    def pem(self) -> str:
        """The certificate, which is no secret."""
        return _pem(self.certificate).decode()

    @property
    def fingerprint(self) -> str:
        """The sha256 of the certificate, in hexadecimal digits."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    @property
    def ends_at(self) -> str:
        """Until when it is good: RFC 3339."""
        return self.certificate.not_valid_after_utc.isoformat()

    def issue(self, hosts: Collection[str], now: float) -> bytes:
        """Return a certificate for a server of these names or addresses, and its key, in PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = self.certificate.subject
        builder = (
            _builder(_name("Peitho's delivery"), issuer, key, now, days=_LEAF_DAYS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                critical=False,
            )
        )
        if names := _general_names(hosts):
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return _key_pem(key) + _pem(builder.sign(self.key, hashes.SHA256()))


class DeliveryCertificate:
    """
    The certificate of the delivery listener, for the address that Pods are told.

    One that Pods were told before stays among its names for as long as the process runs.
    """

    def __init__(
        self, authority: Authority, address: Live[str], *, now: Callable[[], float] = time.time
    ) -> None:
        self.authority = authority
        self._address = address
        self._now = now
        self._hosts: dict[str, None] = {}
        self._context: ssl.SSLContext | None = None
        self._issued_at = 0.0
        self._expiries: dict[str, float] = {}

    def expiries(self) -> dict[str, float]:
        """Return when the certificate and its authority expire, in Unix seconds."""
        return dict(self._expiries)

    def context(self) -> ssl.SSLContext:
        """
        Return what a new connection is made with; open ones keep what they began with.

        Where a new certificate cannot be made, the last one is good for weeks to come.
        """
        now, host = self._now(), host_of(self._address.now)
        is_fresh = 0 <= now - self._issued_at < _RENEWED_AFTER_SECONDS
        if self._context and is_fresh and host in self._hosts:
            return self._context
        self._hosts[host] = None
        try:
            self._context = self._made(now)
        except OSError as error:
            if self._context is None:
                raise
            log.warning("certificate of delivery not renewed", cause=str(error))
            return self._context
        self._issued_at = now
        log.info(
            "certificate of delivery made",
            hosts=[*self._hosts],
            ca_sha256=self.authority.fingerprint,
            ca_ends_at=self.authority.ends_at,
        )
        return self._context

    def _made(self, now: float) -> ssl.SSLContext:
        context = tls.server_context()
        pem = self.authority.issue(self._hosts, now)
        self._note_expiries(pem)
        # OpenSSL is given files alone; the key comes to no disk.
        descriptor = os.memfd_create("delivery")
        try:
            os.write(descriptor, pem)
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
        return context

    def _note_expiries(self, pem: bytes) -> None:
        self._expiries["delivery CA"] = self.authority.certificate.not_valid_after_utc.timestamp()
        if expires_at := certificates.first_expiry(pem):
            self._expiries["delivery"] = expires_at
        for name, at in self._expiries.items():
            metrics.CERTIFICATE_EXPIRY.labels(name).set(at)


def host_of(address: str) -> str:
    """Return the host of `HOST:PORT` as a client reads it in a URL, or an empty text."""
    try:
        return urllib.parse.urlsplit(f"https://{address}").hostname or ""
    except ValueError:
        return ""


def _general_names(hosts: Collection[str]) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = []
    for host in filter(None, hosts):
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            with suppress(UnicodeError):  # no client could ask for it
                names.append(x509.DNSName(host.encode("idna").decode()))
    return names


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: float,
    *,
    days: int,
) -> x509.CertificateBuilder:
    at = datetime.fromtimestamp(now, UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - _BACKDATED)
        .not_valid_after(at + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
