"""Tokens with which Pods call us: each opens exactly one blob or one build."""

import hashlib
import hmac


class DeliveryTokens:
    """Signs and checks; the same thing has the same token for the life of the key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def issue(self, scope: str) -> str:
        """The token of a scope such as `blob:sha256:...` or `build:ID`."""
        return hmac.new(self._key, scope.encode(), hashlib.sha256).hexdigest()

    def opens(self, token: str, scope: str) -> bool:
        """Whether a token, which may be anything, is the scope's."""
        return hmac.compare_digest(token.encode(errors="replace"), self.issue(scope).encode())


def blob_scope(digest: str) -> str:
    """The scope of downloading one blob."""
    return f"blob:{digest}"


def build_scope(build_id: str) -> str:
    """The scope of helping with one build."""
    return f"build:{build_id}"
