"""
Tokens with which Pods call Peitho: each is for exactly one blob or one build, of one container.

    TENANT.SECRET.CONTAINER.MAC

SECRET is the name of the container's record, CONTAINER its ID, and MAC an HMAC-SHA256 of all of
them and of the scope. A token says whose it is, so that it can end with its container: whether that
is still there is for the caller to look.
"""

import hashlib
import hmac
import json
from dataclasses import dataclass

from peitho.settings.models import DEFAULT_TENANT

_PARTS = 4


@dataclass(frozen=True, slots=True)
class Holder:
    """The container whose Pod holds a token: the name of its Secret, and its ID."""

    kubernetes_name: str
    id: str


class DeliveryTokens:
    """Issues and checks the tokens of a tenant; as long as the key stays, they are the same."""

    def __init__(self, key: bytes, tenant: str = DEFAULT_TENANT) -> None:
        self._key = key
        self._tenant = tenant

    def issue(self, scope: str, holder: Holder) -> str:
        """Return a container's token of a scope such as `blob:sha256:...` or `build:ID`."""
        mac = self._mac(scope, holder)
        return f"{self._tenant}.{holder.kubernetes_name}.{holder.id}.{mac}"

    def holder(self, token: str, scope: str) -> Holder | None:
        """Return whose token it is; None if it, which may be any text, does not open the scope."""
        tenant, name, container_id, mac = _parts(token)
        holder = Holder(name, container_id)
        is_ours = hmac.compare_digest(_bytes(mac), self._mac(scope, holder).encode())
        return holder if is_ours and tenant == self._tenant else None

    def _mac(self, scope: str, holder: Holder) -> str:
        signed = json.dumps([self._tenant, scope, holder.kubernetes_name, holder.id])
        return hmac.new(self._key, signed.encode(), hashlib.sha256).hexdigest()


def tenant_of(token: str) -> str:
    """
    Return the tenant that a token names, or an empty text; whether it is good is not looked at.

    It tells whose `DeliveryTokens` have to.
    """
    return _parts(token)[0]


def blob_scope(digest: str) -> str:
    """Return the scope for downloading one blob."""
    return f"blob:{digest}"


def build_scope(build_id: str) -> str:
    """Return the scope for the helper of one build."""
    return f"build:{build_id}"


def _parts(token: str) -> tuple[str, str, str, str]:
    """Cut a token from its end: neither a Secret's name, an ID nor a MAC has a dot in it."""
    parts = token.rsplit(".", _PARTS - 1)
    if len(parts) != _PARTS:
        return "", "", "", ""
    tenant, name, container_id, mac = parts
    return tenant, name, container_id, mac


def _bytes(text: str) -> bytes:
    return text.encode(errors="replace")
