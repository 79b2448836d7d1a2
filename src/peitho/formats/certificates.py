"""When certificates expire, and what they are known by."""

from cryptography import x509
from cryptography.hazmat.primitives import hashes

_BEGIN = b"-----BEGIN CERTIFICATE-----"


def first_expiry(pem: bytes) -> float | None:
    """
    Return when the first of the certificates in a PEM text expires, in Unix seconds.

    None if there is none. Raises ValueError for what is no certificate.
    """
    if _BEGIN not in pem:
        return None
    found = x509.load_pem_x509_certificates(pem)
    return min(each.not_valid_after_utc.timestamp() for each in found)


def first_digest(pem: bytes) -> bytes:
    """Return the sha256 of the first of the certificates in a PEM text. Raises ValueError."""
    return x509.load_pem_x509_certificates(pem)[0].fingerprint(hashes.SHA256())
