"""
The Dockerfile that peers send, which has had one shape from Fabric 1.4 to 3.1.

    FROM runtime
    ADD binpackage.tar DIRECTORY
    LABEL key="value" ...
    ENV KEY=value

(core/chaincode/platforms: golang, node and java, and core/container/... for LABEL and ENV.)
Anything else is refused with its line: Peitho puts images together, it does not build them.
"""

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from peitho.errors import InvalidArgument
from peitho.formats.images import references
from peitho.formats.kubernetes import names

_SHAPE = "Peitho takes FROM, one ADD of an archive, LABEL and ENV, as peers send them"
_WORD = re.compile(r"[\w.\-/:@]+")
_ADD_WORDS = 2


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A peer's Dockerfile: one archive is added to a runtime image at a directory."""

    base: str
    add_source: str
    add_directory: str
    labels: Mapping[str, str]
    env: Mapping[str, str]


def parse(text: str) -> Dockerfile:
    """
    Read a peer's Dockerfile.

    Raises InvalidArgument that names the line.
    """
    parts = _Parts()
    for number, line in _instructions(text):
        try:
            parts.take(line)
        except (ValueError, InvalidArgument) as error:
            # Of a variable, not the value: this is logged.
            shown = "ENV ..." if line.upper().split()[:1] == ["ENV"] else line[:200]
            raise InvalidArgument(f"Dockerfile line {number}: `{shown}`: {error}") from error
    if not parts.base or not parts.added:
        missing = "ADD" if parts.base else "FROM"
        last = text.count("\n") + 1
        raise InvalidArgument(f"Dockerfile line {last}: no {missing} up to here: {_SHAPE}")
    return Dockerfile(parts.base, *parts.added, labels=parts.labels, env=parts.env)


class _Parts:
    """What was read so far."""

    def __init__(self) -> None:
        self.base = ""
        self.added: tuple[str, str] | None = None
        self.labels: dict[str, str] = {}
        self.env: dict[str, str] = {}

    def take(self, line: str) -> None:
        keyword, _, rest = line.partition(" ")
        match keyword.upper():
            case "FROM" if not self.base:
                self.base = _image(rest)
            case "ADD" if self.base and not self.added:
                self.added = _add(rest)
            case "LABEL" if self.base:
                self.labels |= _pairs(rest)
            case "ENV" if self.base:
                self.env |= _variables(rest)
            case _:
                raise ValueError(_SHAPE)


def _instructions(text: str) -> Iterator[tuple[int, str]]:
    """Yield instructions with their line numbers; continuations joined, comments left out."""
    begun, parts = 0, list[str]()
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        begun = begun if parts else number
        parts.append(stripped.removesuffix("\\").strip())
        if not stripped.endswith("\\"):
            yield begun, " ".join(parts)
            parts = []
    if parts:
        yield begun, " ".join(parts)


def _image(rest: str) -> str:
    name = rest.strip()
    references.parse(name)
    return name


def _add(rest: str) -> tuple[str, str]:
    words = rest.split()
    if len(words) != _ADD_WORDS or not all(_WORD.fullmatch(word) for word in words):
        raise ValueError(_SHAPE)
    source, directory = words
    if "/" in source or not directory.startswith("/") or ".." in directory.split("/"):
        raise ValueError("ADD takes a file of the context, and an absolute directory")
    return source, directory.rstrip("/") or "/"


def _variables(rest: str) -> dict[str, str]:
    """Return variables that a container can have: the rule is that of a create request."""
    found = _pairs(rest)
    if not all(map(names.is_variable, found)):
        raise ValueError("the name of a variable is printable ASCII")
    if any("\0" in value for value in found.values()):
        raise ValueError("a NUL character cannot be passed on")
    return found


def _pairs(rest: str) -> dict[str, str]:
    """`key=value key="value"`, or the old `KEY value`."""
    words = shlex.split(rest)
    if words and "=" not in words[0]:
        key, _, value = rest.strip().partition(" ")
        return {key: value.strip()}
    pairs = [word.partition("=") for word in words]
    if not pairs or not all(key and separator for key, separator, _ in pairs):
        raise ValueError("must be KEY=VALUE")
    return {key: value for key, _, value in pairs}
