"""Image references: `registry/repository:tag@digest`, by the rules of distribution/reference."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from peitho.errors import InvalidArgument
from peitho.formats import stars

_DOMAIN = re.compile(
    r"(localhost|[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(:[0-9]+)?"
)
# One part of a repository, of those between the slashes.
COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# Of a whole name, the registry's address included.
LONGEST_CHARACTERS = 255

# Builder and runtime images of peers in any registry, such as hyperledger/fabric-ccenv and
# fabric-baseos: core.yaml of Fabric 1.4 to 3.1, `chaincode`.  Only the last part counts: somebody's
# project may be called fabric-something, and the pull secret opens all that is in it.
_FABRIC_PART = "fabric-"
FABRIC_IMAGES = "*/fabric-*"

# Docker Hub's name in references, where its API is, and as what credentials for it are kept.
DOCKER_HUB = "docker.io"
DOCKER_HUB_API = "registry-1.docker.io"
DOCKER_HUB_ACCOUNT = "https://index.docker.io/v1/"
_DOCKER_HUB_HOSTS = (DOCKER_HUB, DOCKER_HUB_API, "index.docker.io")


@dataclass(frozen=True, slots=True)
class Reference:
    """An image reference in parts; tag and digest may be empty."""

    domain: str
    repository: str
    tag: str
    digest: str

    @property
    def name(self) -> str:
        """The reference without tag and digest."""
        return f"{self.domain}/{self.repository}"

    @property
    def version(self) -> str:
        """The tag and digest with their signs; `:latest` if there is neither."""
        tag = f":{self.tag}" if self.tag else ""
        return f"{tag}@{self.digest}" if self.digest else tag or ":latest"

    def full(self) -> str:
        """Return the whole reference, domain included."""
        return f"{self.name}{self.version}"

    def familiar(self) -> str:
        """Return the reference as people write it: `hyperledger/fabric-ccenv:2.5`."""
        if self.domain != DOCKER_HUB:
            return self.full()
        return f"{self.repository.removeprefix('library/')}{self.version}"


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
        and len(name) <= LONGEST_CHARACTERS
        and all(COMPONENT.fullmatch(part) for part in repository.split("/"))
        and (not tag or _TAG.fullmatch(tag))
        and (not digest or _DIGEST.fullmatch(digest))
        and not rest.endswith(":")
        and not text.endswith("@")
    )
    if not valid:
        raise InvalidArgument(f"invalid reference format: {text[:200]!r}")
    return Reference(domain, repository, tag, digest)


def is_docker_hub(host: str) -> bool:
    """Whether a host is Docker Hub, by any of its names."""
    return host in _DOCKER_HUB_HOSTS


def rewritten(image: str, table: Mapping[str, str]) -> str:
    """
    Return the image that a table of patterns puts in place of another.

    The first pattern that matches counts. It has one `*` at most, which is any text and stands for
    the same in the target. A pattern without tag and digest matches any; a target without them
    keeps the image's. An image that no pattern matches stays as it is.
    """
    if not table:
        return image
    try:
        reference = parse(image)
    except InvalidArgument:
        return image  # the cluster says what is wrong with it
    for pattern, target in table.items():
        whole = _whole_pattern(pattern)
        text = reference.full() if _has_version(whole) else reference.name
        part = _starred(whole, text)
        if part is not None:
            replacement = target.replace("*", part)
            return replacement if _has_version(replacement) else replacement + reference.version
    return image


def matches(pattern: str, image: Reference) -> bool:
    """
    Whether a pattern matches an image: as such a table has it, but with any number of `*`.

    Fabric's own have their name at the end.
    """
    if pattern == FABRIC_IMAGES:
        return image.repository.rpartition("/")[2].startswith(_FABRIC_PART)
    whole = _whole_pattern(pattern)
    text = image.full() if _has_version(whole) else image.name
    return stars.matches(whole, text)


def pattern_problem(pattern: str) -> str:
    """Return what is wrong with such a pattern; empty if nothing is."""
    if pattern == "*":
        return ""
    try:
        parse(_whole_pattern(pattern).replace("*", "x"))
    except InvalidArgument as error:
        return str(error)
    return ""


def rewrite_problem(pattern: str, target: str) -> str:
    """Return what is wrong with a line of such a table; empty if nothing is."""
    if pattern.count("*") > 1 or target.count("*") > pattern.count("*"):
        return "may have one * on the left, and on the right if it is there"
    try:
        parse(target.replace("*", "x"))
        if pattern != "*":
            parse(_whole_pattern(pattern).replace("*", "x"))
    except InvalidArgument as error:
        return str(error)
    return ""


def _whole_pattern(pattern: str) -> str:
    """Return a pattern with its domain; a first part with a `*` may stand for any."""
    first = pattern.partition("/")[0]
    if "*" in first and ("/" in pattern or pattern == "*"):
        return pattern
    domain, repository = _split(pattern)
    if "*" in repository and pattern.startswith(f"{domain}/"):
        return pattern  # `docker.io/*` is more than what is in its library
    return f"{domain}/{repository}"


def _starred(pattern: str, text: str) -> str | None:
    """Return what the `*` of a pattern stands for in a text; None if it does not match."""
    before, star, after = pattern.partition("*")
    if not star:
        return "" if text == pattern else None
    rest = text.removeprefix(before)
    if not text.startswith(before) or not rest.endswith(after):
        return None
    return rest[: len(rest) - len(after)]


def _has_version(text: str) -> bool:
    return "@" in text or ":" in text.rpartition("/")[2]


def _split(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first.lower() != first):
        return first, rest if "/" in rest or first != DOCKER_HUB else f"library/{rest}"
    return DOCKER_HUB, name if slash else f"library/{name}"
