"""
The accounts in pull Secrets, and which of them the kubelet would use for an image.

It matches as `pkg/credentialprovider/keyring.go` of Kubernetes does: host by parts with globs, the
same port, and the beginning of the path. Several are tried in turn: the last in order first, whose
path is the longest; and of two for the same, the one of the first Secret.
"""

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from peitho.errors import InvalidArgument
from peitho.formats.images.references import DOCKER_HUB, is_docker_hub
from peitho.formats.kubernetes import user_namespace
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.kubernetes.pod_options import PodOptions

_DATA_KEYS = {
    "kubernetes.io/dockerconfigjson": ".dockerconfigjson",
    "kubernetes.io/dockercfg": ".dockercfg",
}
_API_PATHS = ("/v1/", "/v2/")
_DEFAULT_ACCOUNT = "default"


@dataclass(frozen=True, slots=True, repr=False)
class PullAccount:
    """An account, the host and path of the images that it is for, and the Secret that has it."""

    host: str
    path: str
    username: str
    password: str
    secret: str = ""

    @property
    def place(self) -> str:
        """The host and path, as a Secret has them."""
        return f"{self.host}{self.path}"


def secret_names(options: PodOptions) -> tuple[str, ...]:
    """Return the names of the pull Secrets of Pods: Peitho's own choice, and the template's."""
    return tuple(dict.fromkeys((*options.pull_secrets, *template_names(options))))


def template_names(options: PodOptions) -> tuple[str, ...]:
    """Return the names of the pull Secrets of the template for Pods."""
    return tuple(_names((options.template.get("spec") or {}).get("imagePullSecrets")))


def service_account(options: PodOptions) -> str:
    """Return the name of the ServiceAccount that Pods run as."""
    return _account_of(options.template.get("spec") or {})


def names_of(account: Manifest) -> tuple[str, ...]:
    """
    Return the pull Secrets of a ServiceAccount.

    They are those of a Pod that names none itself (plugin/pkg/admission/serviceaccount).
    """
    return tuple(dict.fromkeys(_names(account.get("imagePullSecrets"))))


def hidden_account(spec: Mapping[str, Any], options: PodOptions) -> str:
    """
    Return the ServiceAccount whose pull Secrets a Pod made with these options does not get.

    Empty if it gets them, and if a template of the operator names others.
    """
    own, named = options.pull_secrets, set(_names(spec.get("imagePullSecrets")))
    if not named or named - set(own) or template_names(options):
        return ""
    return _account_of(spec)


def with_names(made: Manifest, names: Iterable[str]) -> Manifest:
    """Return a Pod, or a Job, whose Pod has these pull Secrets behind its own."""
    own = user_namespace.pod_of(made)["spec"].get("imagePullSecrets") or []
    all_names = dict.fromkeys((*_names(own), *names))
    return user_namespace.with_spec(
        made, {"imagePullSecrets": [{"name": name} for name in all_names]}
    )


def is_of_its_type(secret: Manifest) -> bool:
    """Whether a Secret is of a type that the kubelet reads accounts of."""
    return secret.get("type") in _DATA_KEYS


def read(secret: Manifest) -> list[PullAccount]:
    """
    Return the accounts of a pull Secret that can be used from here.

    Raises InvalidArgument, which repeats no content, for one that the kubelet does not read either.
    """
    kind, name = str(secret.get("type")), str(secret["metadata"]["name"])
    key = _DATA_KEYS.get(kind)
    if key is None:
        raise InvalidArgument(f"it is of none of the types {', '.join(_DATA_KEYS)}")
    try:
        said = json.loads(base64.b64decode((secret.get("data") or {})[key]))
        entries = said["auths"] if key == ".dockerconfigjson" else said
        made = (
            _account(address, entry, name)
            for address, entry in entries.items()
            if entry.get("auth") or entry.get("username")
        )
        return [account for account in made if account]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InvalidArgument(f"its {key} is malformed") from None


def matching(
    accounts: Iterable[PullAccount], domain: str, repository: str
) -> tuple[PullAccount, ...]:
    """Return the accounts for an image, each once, as they are tried."""
    found = [each for each in accounts if _is_for(each, domain, repository)]
    return tuple(dict.fromkeys(sorted(found, key=lambda each: each.place, reverse=True)))


def _account_of(spec: Mapping[str, Any]) -> str:
    return spec.get("serviceAccountName") or spec.get("serviceAccount") or _DEFAULT_ACCOUNT


def _names(entries: object) -> Iterator[str]:
    """The names in a list of pull Secrets, without those that a patch deletes."""
    for each in entries if isinstance(entries, list) else ():
        if isinstance(each, dict) and each.get("name") and "$patch" not in each:
            yield each["name"]


def _account(address: str, entry: Mapping[str, str], secret: str) -> PullAccount | None:
    """An account of an entry; None if no encoding has what is in it, which nodes do not mind."""
    username, password = entry.get("username", ""), entry.get("password", "")
    if auth := entry.get("auth"):
        # The kubelet takes it without padding, too (pkg/credentialprovider/config.go).
        decoded = base64.b64decode(auth + "=" * (-len(auth.strip()) % 4))
        username, separator, password = decoded.decode(errors="surrogateescape").partition(":")
        if not separator:
            raise ValueError
        password = password.rstrip("\0")
    if not isinstance(username, str) or not isinstance(password, str):
        raise TypeError
    host, slash, path = (address.partition("://")[2] or address).partition("/")
    path = slash + path
    if path.startswith(_API_PATHS):
        path = path[3:]
    try:
        (username + password).encode()  # JSON can have what no encoding has
    except UnicodeEncodeError:
        return None
    host = host.lower()
    host = DOCKER_HUB if is_docker_hub(host) else host
    return PullAccount(host, "" if path == "/" else path, username, password, secret)


def _is_for(account: PullAccount, domain: str, repository: str) -> bool:
    glob, glob_port = _split(account.host)
    host, port = _split(domain.lower())
    globs, parts = glob.split("."), host.split(".")
    return (
        glob_port == port
        and len(globs) == len(parts)
        and all(map(fnmatchcase, parts, globs))
        and f"/{repository}".startswith(account.path)
    )


def _split(address: str) -> tuple[str, str]:
    """Return host and port; an IPv6 address, in brackets, has colons itself."""
    host, colon, port = address.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = address, ""
    return host.strip("[]"), port
