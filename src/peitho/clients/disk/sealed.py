"""
Records with their own sha256: `{"sha256": "HEX", "record": {...}}`.

The digest is that of the record's bytes as they stand there.
"""

import hashlib
import re

_SEALED = re.compile(rb'\{"sha256": "([0-9a-f]{64})", "record": (.*)\}', re.DOTALL)


class BrokenSealError(ValueError):
    """A record is not what its sha256 was made of."""


def seal(record: bytes) -> bytes:
    """Return what is written for a record, which is JSON."""
    digest = hashlib.sha256(record).hexdigest().encode()
    return b'{"sha256": "%s", "record": %s}' % (digest, record)


def is_sealed(content: bytes) -> bool:
    """Whether a file has the form of a sealed record; an earlier Peitho wrote them bare."""
    return _SEALED.fullmatch(content) is not None


def unseal(content: bytes) -> bytes:
    """
    Return the record of a file; one without a seal is returned as it is.

    Raises BrokenSealError.
    """
    sealed = _SEALED.fullmatch(content)
    if sealed is None:
        return content
    digest, record = sealed.groups()
    actual = hashlib.sha256(record).hexdigest()
    if actual != digest.decode():
        raise BrokenSealError(f"its sha256 is {actual} instead of {digest.decode()}")
    return bytes(record)
