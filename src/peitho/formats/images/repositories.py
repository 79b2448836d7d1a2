"""
Locations of images in a registry: readable, always valid, never the same for two images.

A name that Docker takes may be too long for a registry, or begin with a registry's own name.
"""

import hashlib
import ipaddress
import re
from dataclasses import dataclass

from peitho.formats.images import references
from peitho.formats.images.references import Reference

_HASH_CHARACTERS = 10
_MAPPED = re.compile(r"-[0-9a-f]{10}$")
# Peers put a hash behind, and `location` another.
_CHAINCODE = re.compile(r"-[0-9a-f]{10,64}$")
_SHORTEST_CHARACTERS = 2 * _HASH_CHARACTERS


@dataclass(frozen=True, slots=True)
class ImageLocation:
    """A repository and a tag in it."""

    repository: str
    tag: str


@dataclass(frozen=True, slots=True)
class PublishedImages:
    """Where in a registry (`HOST[/PATH]`, with a project) tenants have their chaincode images."""

    place: str
    tenants: tuple[str, ...]

    def has(self, reference: Reference) -> bool:
        """Whether an image is, or may be, a tenant's; one of `default` by how it is called."""
        below = f"{reference.name}/".removeprefix(f"{self.place}/")
        if below == f"{reference.name}/":
            return False
        first, _, rest = below.removesuffix("/").partition("/")
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
