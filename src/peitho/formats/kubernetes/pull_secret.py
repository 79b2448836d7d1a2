"""The Secret with which nodes pull from the registry that Peitho pushes to."""

import base64
import json

from peitho.formats.images.references import DOCKER_HUB_ACCOUNT, is_docker_hub
from peitho.formats.kubernetes.labels import are_own, kind_labels
from peitho.formats.kubernetes.objects import Manifest

_DATA_KEY = ".dockerconfigjson"


def name(instance: str) -> str:
    """Return the Secret's name."""
    return f"{instance}-registry"


def manifest(instance: str, *, host: str, username: str, password: str, email: str) -> Manifest:
    """Return the Secret, of the type that the kubelet reads."""
    key = DOCKER_HUB_ACCOUNT if is_docker_hub(host) else host
    account = {"username": username, "password": password}
    account["auth"] = base64.b64encode(f"{username}:{password}".encode()).decode()
    if email:
        account["email"] = email
    content = json.dumps({"auths": {key: account}}, sort_keys=True).encode()
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name(instance),
            "labels": kind_labels(instance, "pull-secret"),
        },
        "type": "kubernetes.io/dockerconfigjson",
        "data": {_DATA_KEY: base64.b64encode(content).decode()},
    }


def is_own(secret: Manifest, instance: str) -> bool:
    """Whether Peitho made this Secret, and may change it."""
    return are_own(secret["metadata"].get("labels") or {}, instance)
