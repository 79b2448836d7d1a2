"""When certificates expire."""

from cryptography import x509

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
