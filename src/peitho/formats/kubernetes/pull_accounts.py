"""
The accounts in pull Secrets, and which of them the kubelet would use for an image.

It matches as `pkg/credentialprovider/keyring.go` of Kubernetes does: host by parts with globs, the
same port, and the beginning of the path; of several, the last in order, whose path is the longest.
"""

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from peitho.errors import InvalidArgument
from peitho.formats.images.references import DOCKER_HUB, is_docker_hub
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.kubernetes.pod_options import PodOptions

_DATA_KEYS = {
    "kubernetes.io/dockerconfigjson": ".dockerconfigjson",
    "kubernetes.io/dockercfg": ".dockercfg",
}
_API_PATHS = ("/v1/", "/v2/")


@dataclass(frozen=True, slots=True, repr=False)
class PullAccount:
    """An account, and the host and path of the images that it is for."""

    host: str
    path: str
    username: str
    password: str


def secret_names(options: PodOptions) -> tuple[str, ...]:
    """Return the names of the pull Secrets of Pods: Peitho's own choice, and the template's."""
    spec = options.template.get("spec") or {}
    named = (
        each["name"]
        for each in spec.get("imagePullSecrets") or ()
        if isinstance(each, dict) and each.get("name") and "$patch" not in each
    )
    return tuple(dict.fromkeys((*options.pull_secrets, *named)))


def read(secret: Manifest) -> list[PullAccount]:
    """Return the accounts of a pull Secret. Raises InvalidArgument, which repeats no content."""
    kind = str(secret.get("type"))
    key = _DATA_KEYS.get(kind)
    if key is None:
        raise InvalidArgument(f"it is of none of the types {', '.join(_DATA_KEYS)}")
    try:
        said = json.loads(base64.b64decode((secret.get("data") or {})[key]))
        entries = said["auths"] if key == ".dockerconfigjson" else said
        return [
            _account(address, entry)
            for address, entry in entries.items()
            if entry.get("auth") or entry.get("username")
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InvalidArgument(f"its {key} is malformed") from None


def chosen(accounts: Iterable[PullAccount], domain: str, repository: str) -> PullAccount | None:
    """Return the account for an image, or None; of two for the same, the first."""
    matching = [each for each in accounts if _is_for(each, domain, repository)]
    return max(matching, key=lambda each: each.host + each.path, default=None)


def _account(address: str, entry: Mapping[str, str]) -> PullAccount:
    username, password = entry.get("username", ""), entry.get("password", "")
    if auth := entry.get("auth"):
        username, separator, password = base64.b64decode(auth).decode().partition(":")
        if not separator:
            raise ValueError
        password = password.rstrip("\0")
    if not isinstance(username, str) or not isinstance(password, str):
        raise TypeError
    host, slash, path = (address.partition("://")[2] or address).partition("/")
    path = slash + path
    if path.startswith(_API_PATHS):
        path = path[3:]
    (username + password).encode()  # JSON can have what no encoding has
    host = host.lower()
    host = DOCKER_HUB if is_docker_hub(host) else host
    return PullAccount(host, "" if path == "/" else path, username, password)


def _is_for(account: PullAccount, domain: str, repository: str) -> bool:
    glob, _, glob_port = account.host.partition(":")
    host, _, port = domain.lower().partition(":")
    globs, parts = glob.split("."), host.split(".")
    return (
        glob_port == port
        and len(globs) == len(parts)
        and all(map(fnmatchcase, parts, globs))
        and f"/{repository}".startswith(account.path)
    )
