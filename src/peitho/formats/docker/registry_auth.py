"""
The registry credentials of a request: each is for exactly the registry that it names.

Two headers have them: `X-Registry-Auth` one account, `X-Registry-Config` accounts by registry. Both
are JSON in base64 (https://docs.docker.com/reference/api/engine/, "Authentication"). An error tells
what is wrong with a header, and nothing of what it says.
"""

import base64
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from peitho.errors import InvalidArgument
from peitho.formats.images import references

AUTH, CONFIG = "X-Registry-Auth", "X-Registry-Config"

_Json = dict[str, object]
# JSON can have them, and no encoding.
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
# Of both alphabets, and with padding, as dockerd wants it.
_BASE64 = re.compile(r"(?:[\w+/-]{4})*(?:[\w+/-]{2}==|[\w+/-]{3}=)?", re.ASCII)
_STANDARD = str.maketrans("-_", "+/")


@dataclass(frozen=True, slots=True, repr=False)
class RegistryAuth:
    """An account at a registry, whose address is as the request has it; what is empty is absent."""

    address: str
    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""

    @property
    def says_something(self) -> bool:
        """Whether there is anything to show: clients send an empty account by default."""
        return any((self.username, self.password, self.identity_token, self.registry_token))


@dataclass(frozen=True, slots=True, repr=False)
class RegistryAuths:
    """The accounts of one request, by the domain that image references have; none by default."""

    by_domain: Mapping[str, RegistryAuth] = field(default_factory=dict)

    def of(self, domain: str) -> RegistryAuth | None:
        """Return the account at the registry of a reference, and at no other."""
        return self.by_domain.get(domain.lower())


NOBODY = RegistryAuths()


def read(auth: Iterable[str], config: Iterable[str]) -> RegistryAuths:
    """
    Read both headers of a request, each of which may be there once.

    An account that names no registry is for none. Raises InvalidArgument.
    """
    accounts = [
        account
        for address, said in _object(CONFIG, config).items()
        if said is not None
        for account in [_account(CONFIG, said, address=address)]
    ]
    accounts.append(_account(AUTH, _object(AUTH, auth)))
    return RegistryAuths(
        {_domain(each.address): each for each in accounts if each.address and each.says_something}
    )


def hidden(text: str, *auths: RegistryAuth) -> str:
    """Return what somebody said, without the secrets of accounts: a registry may repeat them."""
    for auth in auths:
        for secret in (auth.password, auth.identity_token, auth.registry_token, header(auth)):
            text = text.replace(secret, "***") if secret else text
    return text


def header(auth: RegistryAuth) -> str:
    """Return the value of `X-Registry-Auth`."""
    said = {
        "username": auth.username,
        "password": auth.password,
        "identitytoken": auth.identity_token,
        "registrytoken": auth.registry_token,
        "serveraddress": auth.address,
    }
    text = json.dumps({key: value for key, value in said.items() if value})
    return base64.urlsafe_b64encode(text.encode()).decode()


def _object(name: str, values: Iterable[str]) -> _Json:
    """Return the JSON object in a header; empty if it is not there, or says null."""
    texts = list(values)
    if len(texts) > 1:
        raise InvalidArgument(f"invalid {name} header: it is there {len(texts)} times")
    if not texts or not texts[0]:
        return {}
    if not _BASE64.fullmatch(texts[0]):
        raise InvalidArgument(f"invalid {name} header: it is no base64")
    try:
        said = json.loads(base64.b64decode(texts[0].translate(_STANDARD)))
    except (ValueError, RecursionError):
        raise InvalidArgument(f"invalid {name} header: there is no JSON in its base64") from None
    if said is None:
        return {}
    if not isinstance(said, dict):
        raise InvalidArgument(f"invalid {name} header: it is no JSON object")
    return said


def _account(name: str, said: object, *, address: str = "") -> RegistryAuth:
    if not isinstance(said, dict):
        raise InvalidArgument(f"invalid {name} header: an account is no JSON object")

    def text(key: str) -> str:
        value = said.get(key)
        if value is None:
            return ""
        if not isinstance(value, str) or _LONE_SURROGATE.search(value):
            raise InvalidArgument(f"invalid {name} header: {key} is no text")
        return value

    return RegistryAuth(
        address or text("serveraddress"),
        text("username"),
        text("password"),
        text("identitytoken"),
        text("registrytoken"),
    )


def _domain(address: str) -> str:
    """Return the domain that references to a registry have: Docker Hub has several names."""
    host = address.strip().lower()
    host = host.partition("://")[2] or host
    host = host.partition("/")[0]
    return references.DOCKER_HUB if references.is_docker_hub(host) else host
