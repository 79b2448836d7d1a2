"""
Where an image comes from: the build that made what is in its layer, as it was carried out.

It is noted of results of this Peitho's own builds alone; of any other, nothing is known.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from peitho.formats.tar import TarEntry

# What languages name the versions of modules in; the content of each decides what is fetched.
_LOCKS = frozenset(
    {
        *("go.mod", "go.sum", "modules.txt"),
        *("package.json", "package-lock.json", "npm-shrinkwrap.json", "yarn.lock"),
        *("pom.xml", "build.gradle", "build.gradle.kts", "settings.gradle", "gradle.lockfile"),
    }
)
# A module's own files in `vendor` and `node_modules` tell nothing that these do not.
_OF_OTHERS = re.compile(r"(^|/)(vendor/.*/|node_modules/)")
_MOST_LOCKS = 50
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Source:
    """
    An archive that a peer uploaded, and the directory it was for.

    `sha256` is of the archive as it came, `tree` of its files by path, mode and content; `locks`
    has the sha256 of each file that names modules.
    """

    path: str
    sha256: str
    tree: str
    locks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Origin:
    """
    A build that was carried out; times are RFC 3339.

    `builder` is the image that the peer named, `builder_id` the one that ran, in the words of the
    node or the daemon. Of variables the names are told, and no values.
    """

    build_id: str = ""
    builder: str = ""
    builder_id: str = ""
    command: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()
    started_at: str = ""
    finished_at: str = ""
    version: str = ""

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """Read what `to_json` gave. Raises TypeError, ValueError, KeyError for anything else."""
        known = dict(told)
        for each in ("command", "variables"):
            known[each] = tuple(_texts(known.get(each, ())))
        sources = (Source(**each) for each in known.get("sources", ()))
        known["sources"] = tuple(map(_checked, sources))
        origin = cls(**known)
        _texts(getattr(origin, each.name) for each in fields(cls) if each.type is str)
        return origin

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


NOWHERE = Origin()


def locks(entries: Iterable[TarEntry]) -> dict[str, str]:
    """Return the sha256 of those files of an archive that name modules, by path."""
    found = {
        entry.name: entry.sha256
        for entry in entries
        if entry.sha256
        and entry.name.rpartition("/")[2] in _LOCKS
        and not _OF_OTHERS.search(entry.name)
    }
    nearest = sorted(found, key=lambda name: (name.count("/"), name))[:_MOST_LOCKS]
    return {name: found[name] for name in sorted(nearest)}


def digest(image_id: str) -> str:
    """Return the digest in a node's or daemon's ID of an image; empty if it has none."""
    found = _DIGEST.search(image_id)
    return found[0] if found else ""


def _checked(source: Source) -> Source:
    _texts((source.path, source.sha256, source.tree, *source.locks, *source.locks.values()))
    return source


def _texts(values: Iterable[object]) -> list[str]:
    texts = []
    for value in values:
        if not isinstance(value, str):
            raise TypeError(f"must be a text, is a {type(value).__name__}")
        texts.append(value)
    return texts
