"""
When certificates expire: the one thing that is read of them here.

The standard library tells it only of certificates of an authority, or of a peer that was verified.
"""

import base64
import re
from collections.abc import Iterator
from datetime import UTC, datetime

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)
# ASN.1's tags (X.690), as RFC 5280 has them in a certificate.
_VERSION = 0xA0
_UTC_TIME = 0x17
_LONG_FORM = 0x80
# RFC 5280, 4.1.2.5.1: two digits from 50 on are of the last century.
_CENTURY = 50


def first_expiry(pem: bytes) -> float | None:
    """
    Return when the first of the certificates in a PEM text expires, in Unix seconds.

    None if there is none. Raises ValueError for what is no certificate.
    """
    ends = [_expiry(base64.b64decode(each)) for each in _PEM.findall(pem)]
    return min(ends, default=None)


def _expiry(certificate: bytes) -> float:
    """`notAfter` of a certificate in DER."""
    try:
        (_, whole), *_ = _elements(certificate)
        (_, signed), *_ = _elements(whole)
        fields = [field for field in _elements(signed) if field[0] != _VERSION]
        # serial number, algorithm of the signature, issuer, validity, ...
        validity = list(_elements(fields[3][1]))
        return _unix_seconds(*validity[1])
    except IndexError as error:
        raise ValueError("it is no X.509 certificate") from error


def _elements(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and content of each element; IndexError if one is cut."""
    at = 0
    while at < len(content):
        tag, length, at = content[at], content[at + 1], at + 2
        if length & _LONG_FORM:
            size = length & ~_LONG_FORM
            length, at = int.from_bytes(content[at : at + size]), at + size
        if at + length > len(content):
            raise IndexError
        yield tag, content[at : at + length]
        at += length


def _unix_seconds(tag: int, time: bytes) -> float:
    text = time.decode("ascii")
    if tag == _UTC_TIME:
        text = ("19" if int(text[:2]) >= _CENTURY else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
