"""Tokens with which Pods call Peitho: each is for exactly one blob or one build."""

import hashlib
import hmac


class DeliveryTokens:
    """Issues and checks tokens; as long as the key stays, a scope has the same token."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def issue(self, scope: str) -> str:
        """Return the token of a scope such as `blob:sha256:...` or `build:ID`."""
        return hmac.new(self._key, scope.encode(), hashlib.sha256).hexdigest()

    def opens(self, token: str, scope: str) -> bool:
        """Whether a token, which may be any text, is the token of a scope."""
        return hmac.compare_digest(token.encode(errors="replace"), self.issue(scope).encode())


def blob_scope(digest: str) -> str:
    """Return the scope for downloading one blob."""
    return f"blob:{digest}"


def build_scope(build_id: str) -> str:
    """Return the scope for the helper of one build."""
    return f"build:{build_id}"
