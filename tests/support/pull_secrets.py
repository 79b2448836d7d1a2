"""Secrets by which nodes pull, as `kubectl create secret docker-registry` makes them."""

import base64
import json
from collections.abc import Mapping

from peitho.clients.registry.transport import RegistryCredentials
from peitho.formats.kubernetes.objects import Manifest


def pull_secret(accounts: Mapping[str, RegistryCredentials], name: str = "mine") -> Manifest:
    """A Secret with an account for each address."""
    return secret_of({"auths": {key: entry(each) for key, each in accounts.items()}}, name=name)


def entry(account: RegistryCredentials) -> Manifest:
    """What a Secret has for one address."""
    auth = base64.b64encode(f"{account.username}:{account.password}".encode()).decode()
    return {"auth": auth}


def secret_of(content: object, kind: str = "dockerconfigjson", name: str = "mine") -> Manifest:
    """A Secret of a kind with that content."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "type": f"kubernetes.io/{kind}",
        "data": {f".{kind}": base64.b64encode(json.dumps(content).encode()).decode()},
    }
