"""
Docker's names in Kubernetes' alphabet: readable, always valid, never the same for two.

A container's name has up to 200 characters with upper case, underscores and dots; an object's has
lower case, digits and dashes, 63 at most, and less where Kubernetes appends to it.
"""

import hashlib
import re

_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?")
_HASH_CHARACTERS = 10
# Where others share the namespace: somebody finds a name whose hash has the same 10 within minutes.
_OWNED_HASH_CHARACTERS = 20
# A Job appends `-` and 8 digits of the container's ID to it, its Pod `-` and 5 more: 63 in all.
LONGEST_CHARACTERS = 48

# Of the service `kubernetes`, in each container of each Pod, whatever `enableServiceLinks` says
# (kubelet_pods.go, getServiceEnvVarMap).
VARIABLES_OF_THE_KUBELET = (
    "KUBERNETES_PORT",
    "KUBERNETES_PORT_443_TCP",
    "KUBERNETES_PORT_443_TCP_ADDR",
    "KUBERNETES_PORT_443_TCP_PORT",
    "KUBERNETES_PORT_443_TCP_PROTO",
    "KUBERNETES_SERVICE_HOST",
    "KUBERNETES_SERVICE_PORT",
    "KUBERNETES_SERVICE_PORT_HTTPS",
)


def kubernetes_name(prefix: str, name: str, *, owner: str = "") -> str:
    """
    Return an object's name for a container's name: at most 48 characters, an RFC 1123 label.

    The hash is of the exact name, so `A_b` and `a-b` have two names; so have those of two owners.
    """
    exact = f"{owner}/{name}" if owner else name
    length = _OWNED_HASH_CHARACTERS if owner else _HASH_CHARACTERS
    digest = hashlib.sha256(exact.encode()).hexdigest()[:length]
    room = LONGEST_CHARACTERS - len(prefix) - length - 2
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower())[:room].strip("-")
    return "-".join(part for part in (prefix, slug, digest) if part)


def chaincode_name(instance: str, name: str) -> str:
    """
    Return the name of a chaincode container's Secret.

    Tenants may share a namespace, and their chaincode a name. A tenant's instance has a dot.
    """
    return kubernetes_name("cc", name, owner=instance if "." in instance else "")


def label_value(text: str) -> str:
    """Return a label's value for any text: the text if it may be one, else with a hash behind."""
    if _LABEL_VALUE.fullmatch(text):
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:_HASH_CHARACTERS]
    room = 63 - _HASH_CHARACTERS - 1
    slug = re.sub(r"[^A-Za-z0-9_.-]+", "-", text)[:room].strip("-_.")
    return f"{slug}-{digest}" if slug else digest


def build_name(container_id: str) -> str:
    """Return the name of a build's Secret and Pod."""
    return f"build-{container_id[:12]}"


def env_escape(text: str) -> str:
    """Escape a text, so that Kubernetes' expansion of `$(X)` and `$$` gives it back."""
    return text.replace("$", "$$")


def is_variable(name: str) -> bool:
    """Whether a variable may have a name, by Kubernetes' relaxed rule (beta since 1.32)."""
    return bool(name) and name.isascii() and name.isprintable()
