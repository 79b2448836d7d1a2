"""The token with which operators ask a running Peitho: whoever reads its data directory has it."""

import hashlib
import hmac

_WHAT = b"peitho operators"


def issue(key: bytes) -> str:
    """Return the token of a data directory's key."""
    return hmac.new(key, _WHAT, hashlib.sha256).hexdigest()


def opens(header: str, key: bytes) -> bool:
    """Whether an `Authorization` header, which may be any text, has the token of a key."""
    scheme, _, token = header.partition(" ")
    given = token.strip().encode(errors="replace")
    return scheme.lower() == "bearer" and hmac.compare_digest(given, issue(key).encode())
