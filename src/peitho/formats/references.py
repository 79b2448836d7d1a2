"""Image references: `registry/repository:tag@digest`, by the rules of distribution/reference."""

import re
from dataclasses import dataclass

from peitho.errors import InvalidArgument

_DOMAIN = re.compile(
    r"(localhost|[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(:[0-9]+)?"
)
_PART = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LONGEST_CHARACTERS = 255
_DOCKER_HUB = "docker.io"


@dataclass(frozen=True, slots=True)
class Reference:
    """An image reference in its parts; tag and digest are empty where it has none."""

    domain: str
    repository: str
    tag: str
    digest: str

    def full(self) -> str:
        """With the domain, always."""
        return f"{self.domain}/{self.repository}{self._version()}"

    def familiar(self) -> str:
        """As people write it: `hyperledger/fabric-ccenv:2.5`."""
        if self.domain != _DOCKER_HUB:
            return self.full()
        return f"{self.repository.removeprefix('library/')}{self._version()}"

    def _version(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{tag}@{self.digest}" if self.digest else tag or ":latest"


def parse(text: str) -> Reference:
    """
    Read a reference; no domain means docker.io, as Docker has it.

    Raises InvalidArgument with Docker's words.
    """
    rest, _, digest = text.partition("@")
    name, tag = rest, ""
    if ":" in rest.rpartition("/")[2]:
        name, _, tag = rest.rpartition(":")
    domain, repository = _split(name)
    valid = (
        _DOMAIN.fullmatch(domain)
        and len(name) <= _LONGEST_CHARACTERS
        and all(_PART.fullmatch(part) for part in repository.split("/"))
        and (not tag or _TAG.fullmatch(tag))
        and (not digest or _DIGEST.fullmatch(digest))
        and not rest.endswith(":")
        and not text.endswith("@")
    )
    if not valid:
        raise InvalidArgument(f"invalid reference format: {text[:200]!r}")
    return Reference(domain, repository, tag, digest)


def _split(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first.lower() != first):
        return first, rest if "/" in rest or first != _DOCKER_HUB else f"library/{rest}"
    return _DOCKER_HUB, name if slash else f"library/{name}"
