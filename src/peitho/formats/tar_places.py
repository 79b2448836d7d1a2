"""
Where the entries of an archive come to lie in an image, as dockerd's `ADD` puts them.

Of two entries at a place the last counts, and what lay below one that is no directory any more is
gone. An entry below a link lies where the link leads, if that is a directory of the archive; one
that would leave it is refused. A link that is not used stays as it is, wherever it leads.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from peitho.errors import InvalidArgument
from peitho.formats import tar
from peitho.formats.tar import ArchiveLimits, TarEntry

_DIRECTORY_MODE = 0o755
# Linux follows as many links in one path.
_LINKS_FOLLOWED = 40
# How far the links of one archive are followed in all.
_STEPS = 200_000


@dataclass(frozen=True, slots=True)
class Placed:
    """An entry of an archive that is not compressed, and where its content begins."""

    entry: TarEntry
    offset: int = 0


@dataclass(slots=True)
class _Directory:
    """A directory; without an entry, if the archive has it in names alone."""

    placed: Placed | None = None
    children: "dict[str, _Directory | Placed]" = field(default_factory=dict)


def places(archive: BinaryIO, *, limits: ArchiveLimits) -> dict[str, Placed]:
    """
    The entries of an archive for an image, by where they lie, with the places of their contents.

    It is not compressed. Directories that are in names alone are there, too, with the mode 0755.
    Raises InvalidArgument that names the entry.
    """
    tree = _Tree(limits)
    for member, entry, _ in tar.members_for_image(archive, limits):
        tree.put(entry, member.offset)
    return {placed.entry.name: placed for placed in tree}


class _Tree:
    def __init__(self, limits: ArchiveLimits) -> None:
        self._limits = limits
        self._root = _Directory()
        self._steps = _STEPS
        self._implied = self._implied_bytes = 0
        # The directory of the entry before, by the name that it was given: mostly the next one's.
        self._last: tuple[str, str, _Directory] | None = None

    def put(self, entry: TarEntry, offset: int) -> None:
        """Have an entry at its place, in the place of what was there."""
        if not entry.name:
            self._root.placed = Placed(entry)
            return
        place, directory = self._parent(entry)
        own = entry.name.rpartition("/")[2]
        if entry.kind == "hardlink":
            entry = replace(entry, link=self._followed(entry.link))
        entry = replace(entry, name=f"{place}/{own}" if place else own)
        there = directory.children.get(own)
        if entry.kind == "dir" and isinstance(there, _Directory):
            there.placed = Placed(entry)
            return
        if there is not None:
            self._last = None  # it may have been on the way
        placed = Placed(entry, offset)
        directory.children[own] = _Directory(placed) if entry.kind == "dir" else placed

    def __iter__(self) -> Iterator[Placed]:
        pending = [("", self._root)]
        while pending:
            name, directory = pending.pop()
            yield directory.placed or Placed(TarEntry(name, "dir", _DIRECTORY_MODE, 0))
            for own, child in directory.children.items():
                if isinstance(child, Placed):
                    yield child
                else:
                    pending.append((f"{name}/{own}" if name else own, child))

    def _parent(self, entry: TarEntry) -> tuple[str, _Directory]:
        """Return the directory in which an entry lies, and its place; it is made if need be."""
        name = entry.name.rpartition("/")[0]
        if self._last is None or self._last[0] != name:
            walk = _Walk(self._root)
            if not walk.to(name, self._spend, self._made):
                raise _below(entry, walk)
            if len(walk.place) > self._limits.path_bytes or walk.depth > tar.COMPONENTS:
                raise InvalidArgument(f"the entry {tar.shown(entry.name)} is nested too deep")
            self._last = (name, walk.place, walk.directory)
        return self._last[1:]

    def _followed(self, name: str) -> str:
        """Return where a file lies that is named by way of links; the name itself if nowhere."""
        parent, _, own = name.rpartition("/")
        walk = _Walk(self._root)
        if not walk.to(parent, self._spend):
            return name
        return f"{walk.place}/{own}" if walk.place else own

    def _spend(self) -> None:
        self._steps -= 1
        if self._steps < 0:
            raise InvalidArgument("the archive's links are more than can be followed")

    def _made(self, place: str) -> _Directory:
        self._implied += 1
        self._implied_bytes += len(place)
        limits = self._limits
        if self._implied > limits.entries:
            raise InvalidArgument(
                f"the archive has more than {limits.entries} entries: its names have directories, "
                f"at {tar.shown(place)}"
            )
        if self._implied_bytes > limits.names_bytes:
            raise InvalidArgument(
                f"the names in the archive are longer than {limits.names_bytes} bytes in all, "
                f"with those of their directories, at {tar.shown(place)}"
            )
        return _Directory()


class _Walk:
    """A way from the root down, through directories and links of the archive."""

    def __init__(self, root: _Directory) -> None:
        self._way = [("", root)]
        self.begun = ""  # as much of the name as was walked
        self.at_link = False

    @property
    def directory(self) -> _Directory:
        """Where it has come to."""
        return self._way[-1][1]

    @property
    def depth(self) -> int:
        """How many directories it is below the root."""
        return len(self._way) - 1

    @property
    def place(self) -> str:
        """The path of where it has come to, without links."""
        return "/".join(part for part, _ in self._way[1:])

    def to(
        self,
        name: str,
        spend: Callable[[], None],
        made: Callable[[str], _Directory] | None = None,
    ) -> bool:
        """
        Walk to a directory, and make what the name alone has; False if it cannot be come to.

        `spend` is called for each part of a link that is followed.
        """
        followed = 0
        ahead = [(part, False) for part in reversed(name.split("/"))]
        while ahead:
            part, by_link = ahead.pop()
            if not by_link:
                self.begun = f"{self.begun}/{part}" if self.begun else part
                self.at_link = False
            if part in ("", "."):
                continue
            if part == "..":
                if len(self._way) == 1:
                    return False
                self._way.pop()
                continue
            there = self.directory.children.get(part)
            if there is None and made and not by_link:
                there = made(f"{self.place}/{part}")
                self.directory.children[part] = there
            if isinstance(there, _Directory):
                self._way.append((part, there))
                continue
            if there is None or there.entry.kind != "symlink":
                return False
            self.at_link = True
            followed += 1
            if there.entry.link.startswith("/") or followed > _LINKS_FOLLOWED:
                return False
            ahead.extend(_parts(there.entry.link, spend))
        return True


def _parts(link: str, spend: Callable[[], None]) -> Iterator[tuple[str, bool]]:
    """Yield the parts of a link that is followed, the last one first."""
    for part in reversed(link.split("/")):
        spend()
        yield part, True


def _below(entry: TarEntry, walk: _Walk) -> InvalidArgument:
    word = "link" if walk.at_link else "file"
    return InvalidArgument(
        f"the entry {tar.shown(entry.name)} lies below the {word} {tar.shown(walk.begun)}"
    )
