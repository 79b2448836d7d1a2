"""
Locations of images in a registry: readable, always valid, never the same for two images.

A name that Docker takes may be too long for a registry, or begin with a registry's own name.
"""

import hashlib
import ipaddress
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from peitho.formats.images import references
from peitho.formats.images.references import Reference

_HASH_CHARACTERS = 10
_MAPPED = re.compile(r"-[0-9a-f]{10}$")
# Peers put a hash behind, and `location` another.
_CHAINCODE = re.compile(r"-[0-9a-f]{10,64}$")
_SHORTEST_CHARACTERS = 2 * _HASH_CHARACTERS
_HOST_AND_PORT = re.compile(r"(.*?)(?::([0-9]{1,9}))?")
# Of HTTPS, and of a registry without.
_USUAL_PORTS = (443, 80)


@dataclass(frozen=True, slots=True)
class ImageLocation:
    """A repository and a tag in it."""

    repository: str
    tag: str


@dataclass(frozen=True, slots=True)
class PublishedImages:
    """
    Where in a registry (`HOST[/PATH]`, with a project) tenants have their chaincode images.

    With `rewrite` a name may lead there that does not look so.
    """

    place: str
    tenants: tuple[str, ...]
    rewrite: Mapping[str, str] = field(default_factory=dict)

    def has(self, reference: Reference) -> bool:
        """Whether an image is, or may be, a tenant's; one of `default` by how it is called."""
        pulled = references.rewritten(reference.full(), self.rewrite)
        return self._is_here(reference) or self._is_here(references.parse(pulled))

    def _is_here(self, reference: Reference) -> bool:
        host, _, path = self.place.partition("/")
        above = f"{path}/" if path else ""
        if registry(reference.domain) != registry(host):
            return False
        if not reference.repository.startswith(above):
            return False
        first, _, rest = reference.repository.removeprefix(above).partition("/")
        return first in self.tenants if rest else _CHAINCODE.search(first) is not None


def location(name: str, *, server: str, project: str) -> ImageLocation:
    """
    Return the repository and tag of an image, below a project of a registry.

    A name that no repository may have becomes one with a hash behind. So does a name that looks
    like one of those, so that two names never meet.
    """
    bare, tag = _without_tag(name)
    above = f"{project}/" if project else ""
    room = references.LONGEST_CHARACTERS - len(f"{server}/{above}")
    room = max(room, _SHORTEST_CHARACTERS)
    if len(bare) <= room and references.COMPONENT.fullmatch(bare) and not _MAPPED.search(bare):
        return ImageLocation(f"{above}{bare}", tag)
    digest = hashlib.sha256(bare.encode()).hexdigest()[:_HASH_CHARACTERS]
    slug = re.sub(r"[^a-z0-9]+", "-", bare.lower())[: room - _HASH_CHARACTERS - 1].strip("-")
    return ImageLocation(f"{above}{slug}-{digest}" if slug else f"{above}image-{digest}", tag)


def split_server(address: str) -> tuple[str, str]:
    """Split a registry's address into host (with port) and the path above its projects."""
    host, _, path = address.strip("/").partition("/")
    return host, path


def api_host(domain: str) -> str:
    """Return the host of a registry's API; Docker Hub's has another name."""
    return references.DOCKER_HUB_API if references.is_docker_hub(domain) else domain


def registry(domain: str) -> str:
    """
    Return the one domain for all those by which nodes reach the same registry.

    They differ in case, in a port that need not be said, in the names of Docker Hub, and in how an
    IPv6 address is written.
    """
    found = _HOST_AND_PORT.fullmatch(domain.lower())
    host, port = found.groups() if found else (domain.lower(), None)
    if host.startswith("["):
        with suppress(ValueError):
            host = f"[{ipaddress.ip_address(host.strip('[]'))}]"
    if references.is_docker_hub(host):
        return references.DOCKER_HUB
    return host if port is None or int(port) in _USUAL_PORTS else f"{host}:{int(port)}"


def is_loopback(domain: str) -> bool:
    """Whether a registry is on this machine; Docker and containerd use plain HTTP then."""
    bracket, _, rest = domain.partition("[")
    host = rest.partition("]")[0] if rest and not bracket else domain.partition(":")[0]
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name, also one that begins like an address
        return False


def _without_tag(name: str) -> tuple[str, str]:
    """
    Split a name into name and tag.

    Raises InvalidArgument with Docker's words.
    """
    tag = references.parse(name).tag
    return (name.removesuffix(f":{tag}"), tag) if tag else (name, "latest")
