"""
Tar archives from outside: hostile until read.

Names are taken from the target down, as dockerd does, so `/etc/x` and `etc/x` are the same; what
would leave the target (`..`, links planted earlier, in uploads links that climb) and what is no
file, directory, link or fifo is refused with its name.  Archives are plain or gzip, as peers send
them.  Time is linear in an archive's bytes, memory grows with its names alone, and those are
bounded.
"""

import hashlib
import os
import shutil
import stat
import sys
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from peitho.errors import InvalidArgument
from peitho.formats import tar_members
from peitho.formats.gunzip import unpacked
from peitho.formats.tar_members import Content, Member

Kind = Literal["file", "dir", "symlink", "hardlink", "fifo"]

_COPY_BYTES = 1024 * 1024
_MODE = 0o7777
# Linux takes names of 255 bytes, and paths of 4096: what is nested deeper is no source tree.
_COMPONENT_BYTES = 255
COMPONENTS = 200
_LINK_BYTES = 4095
_PADDING_BYTES = 64 * 1024
# Linux follows as many links in one path.
_LINKS_FOLLOWED = 40


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """How much one archive may hold; sizes are unpacked, `names_bytes` is of names and links."""

    entries: int = 200_000
    total_bytes: int = 4 * 1024**3
    path_bytes: int = 4096
    names_bytes: int = 32 * 1024**2

    @property
    def stream_bytes(self) -> int:
        """How long the unpacked archive may be: contents, and the headers around them."""
        headers = self.entries * 4 * tar_members.BLOCK_BYTES
        return self.total_bytes + headers + 2 * self.names_bytes + _PADDING_BYTES


# For archives that have been checked before: Peitho's own, on their way to a Pod.
CHECKED = ArchiveLimits(entries=sys.maxsize, total_bytes=sys.maxsize, names_bytes=sys.maxsize)


@dataclass(frozen=True, slots=True)
class TarEntry:
    """One entry; `name` is relative and normalized, empty for the root; `link` as it was given."""

    name: str
    kind: Kind
    mode: int
    size: int
    link: str = ""
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class FileWithMode:
    """A regular file of a small archive: what it holds, and its permissions."""

    content: bytes
    mode: int


def scan(archive: BinaryIO, *, limits: ArchiveLimits, digests: bool = False) -> list[TarEntry]:
    """
    Read an archive to its end, and check all of it; with `digests`, the contents' sha256 too.

    Raises InvalidArgument that names the entry; also for an archive that is cut or no archive.
    """
    entries = []
    for entry, content in read(archive, limits=limits, fifos=True):
        digest = _sha256(content) if content and digests else ""
        entries.append(TarEntry(entry.name, entry.kind, entry.mode, entry.size, entry.link, digest))
    _refuse_links_out(entries)
    return entries


def members_for_image(
    archive: BinaryIO, limits: ArchiveLimits
) -> Iterator[tuple[Member, TarEntry, Content | None]]:
    """
    The entries of an archive that is not compressed, with their members: what images may have.

    Links may lead anywhere. What lies where, and what below links, is for the caller to find out.
    """
    yield from _read(archive, limits, fifos=True, for_image=True)


def unpack(archive: BinaryIO, target: Path, *, limits: ArchiveLimits) -> list[TarEntry]:
    """
    Write an archive's entries below a directory; owners and times are the writer's own.

    Raises InvalidArgument that names the entry; nothing outside the target is ever written.
    """
    entries = []
    with unpacked(archive, limit_bytes=limits.stream_bytes) as plain:
        for _, entry, content in _read(plain, limits, fifos=True):
            _write(entry, content, target)
            entries.append(entry)
    return entries


def read_files(archive: BinaryIO, *, limits: ArchiveLimits) -> dict[str, bytes]:
    """
    The regular files of a small archive: absolute path to content.

    Raises InvalidArgument, also past `limits.total_bytes`.
    """
    found = _entries_for_files(archive, limits)
    return {f"/{entry.name}": content.read() for entry, content in found if content is not None}


def read_files_with_modes(archive: BinaryIO, *, limits: ArchiveLimits) -> dict[str, FileWithMode]:
    """
    The same, each with its permissions; a volume of files has no links, so one is refused.

    Raises InvalidArgument.
    """
    files = {}
    for entry, content in _entries_for_files(archive, limits):
        if entry.link:
            raise InvalidArgument(
                f"the entry {shown(entry.name)} is a link: chaincode is given files alone"
            )
        if content is not None:
            files[f"/{entry.name}"] = FileWithMode(content.read(), entry.mode)
    return files


def read(
    archive: BinaryIO, *, limits: ArchiveLimits, fifos: bool = False
) -> Iterator[tuple[TarEntry, Content | None]]:
    """
    The entries of an archive, each checked, and the content of files; fifos if they are wanted.

    A content must be read before the next entry is asked for.  Raises InvalidArgument.
    """
    with unpacked(archive, limit_bytes=limits.stream_bytes) as plain:
        for _, entry, content in _read(plain, limits, fifos=fifos):
            yield entry, content


def pack(root: Path, out: BinaryIO) -> None:
    """
    A tar of a directory's content, named `./...`, as Docker's archive of `DIR/.` is.

    Links are packed and never followed, also if a file becomes one meanwhile; a socket that was
    left behind is not packed.  Raises InvalidArgument for what is nested too deep.
    """
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.GNU_FORMAT) as archive:
        _Packing(archive).directory(os.open(root, _OPEN_DIRECTORY), ".")


_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


class _Packing:
    """What is on its way into an archive; a second name of a file is packed as a hard link."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self._names: dict[tuple[int, int], str] = {}

    def directory(self, descriptor: int, name: str, *, depth: int = 0) -> None:
        """Pack a directory, and close its descriptor."""
        try:
            if depth > COMPONENTS:
                raise InvalidArgument(f"the directory {shown(name)} is nested too deep")
            self._archive.addfile(_header(name, os.fstat(descriptor), tarfile.DIRTYPE))
            for child in sorted(os.listdir(descriptor)):
                self._child(descriptor, child, f"{name}/{child}", depth)
        finally:
            os.close(descriptor)

    def _child(self, parent: int, child: str, name: str, depth: int) -> None:
        status = os.stat(child, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            descriptor = os.open(child, _OPEN_DIRECTORY, dir_fd=parent)
            self.directory(descriptor, name, depth=depth + 1)
        elif stat.S_ISLNK(status.st_mode):
            header = _header(name, status, tarfile.SYMTYPE)
            header.linkname = os.readlink(child, dir_fd=parent)
            self._archive.addfile(header)
        elif stat.S_ISFIFO(status.st_mode):
            self._archive.addfile(_header(name, status, tarfile.FIFOTYPE))
        elif stat.S_ISREG(status.st_mode):
            self._file(os.open(child, _OPEN_FILE, dir_fd=parent), name)

    def _file(self, descriptor: int, name: str) -> None:
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return
            inode = (status.st_dev, status.st_ino)
            if status.st_nlink > 1 and (first := self._names.setdefault(inode, name)) != name:
                header = _header(name, status, tarfile.LNKTYPE)
                header.linkname = first
                self._archive.addfile(header)
                return
            header = _header(name, status, tarfile.REGTYPE)
            header.size = status.st_size
            self._archive.addfile(header, file)


def _header(name: str, status: os.stat_result, kind: bytes) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.type = kind
    header.mode = stat.S_IMODE(status.st_mode)
    header.mtime = status.st_mtime
    header.uid, header.gid = status.st_uid, status.st_gid
    return header


def _refuse_links_out(entries: Iterable[TarEntry]) -> None:
    """
    Refuse a relative link that leaves the target by way of the archive's other links.

    Links are followed as Linux follows them; one that goes round in circles leads nowhere, and is
    kept.  The work is bounded.  Raises InvalidArgument that names the entry.
    """
    links = {entry.name: entry.link for entry in entries if entry.kind == "symlink"}
    following = _Following(links)
    for name, link in links.items():
        if not link.startswith("/") and following.leaves(name):
            raise InvalidArgument(
                f"the entry {shown(name)} is a link to {shown(link)}, which leaves the target "
                "by way of other links"
            )


class _Following:
    """Follows the relative links of an archive; absolute ones lead away from it."""

    _STEPS = 2_000_000

    def __init__(self, links: dict[str, str]) -> None:
        self._links = links
        self._steps = self._STEPS

    def leaves(self, name: str) -> bool:
        """Whether a path climbs above the target."""
        ahead = name.split("/")[::-1]
        behind: list[str] = []
        followed = 0
        while ahead:
            part = ahead.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if not behind:
                    return True
                behind.pop()
                continue
            behind.append(part)
            # A path is looked up as a whole: what that costs grows with its length.
            self._steps -= len(behind)
            if self._steps < 0:
                raise InvalidArgument("the archive's links are more than can be followed")
            link = self._links.get("/".join(behind))
            if link is None:
                continue
            followed += 1
            if link.startswith("/") or followed > _LINKS_FOLLOWED:
                return False
            behind.pop()
            ahead.extend(link.split("/")[::-1])
        return False


class _Leaves:
    """What is no directory in an archive so far: nothing may be written below it."""

    def __init__(self) -> None:
        self._kinds: dict[str, Kind] = {}
        self._checked = ""

    def check(self, entry: TarEntry) -> None:
        """Raise InvalidArgument for an entry below a file or a link."""
        parent = entry.name.rpartition("/")[0]
        if parent != self._checked:
            self._check_parents(entry.name)
            self._checked = parent
        if entry.kind == "dir":
            self._kinds.pop(entry.name, None)
        else:
            self._kinds[entry.name] = entry.kind
            self._checked = ""  # this name may be a parent that was seen before

    def _check_parents(self, name: str) -> None:
        end = name.find("/")
        while end > 0:
            if kind := self._kinds.get(name[:end]):
                word = "link" if kind == "symlink" else "file"
                raise InvalidArgument(
                    f"the entry {shown(name)} lies below the {word} {shown(name[:end])}"
                )
            end = name.find("/", end + 1)


def _read(
    plain: BinaryIO, limits: ArchiveLimits, *, fifos: bool = False, for_image: bool = False
) -> Iterator[tuple[Member, TarEntry, Content | None]]:
    total = names = 0
    leaves = _Leaves()
    for number, (member, content) in enumerate(tar_members.members(plain)):
        if number >= limits.entries:
            raise InvalidArgument(
                f"the archive has more than {limits.entries} entries, at {shown(member.name)}"
            )
        total += member.size
        if total > limits.total_bytes:
            raise InvalidArgument(
                f"the archive unpacks to more than {limits.total_bytes} bytes, "
                f"at {shown(member.name)}"
            )
        names += len(member.name) + len(member.link)
        if names > limits.names_bytes:
            raise InvalidArgument(
                f"the names in the archive are longer than {limits.names_bytes} bytes in all, "
                f"at {shown(member.name)}"
            )
        entry = _entry(member, limits, fifos=fifos)
        if not for_image:
            _refuse_link_up(entry)
            leaves.check(entry)
        yield member, entry, content if entry.kind == "file" else None
    _drain(plain, limits)


def _drain(plain: BinaryIO, limits: ArchiveLimits) -> None:
    """Read what follows the end of the archive, to see that its compression ends as it should."""
    left = limits.total_bytes
    while left > 0 and (chunk := plain.read(_COPY_BYTES)):
        left -= len(chunk)
    if left <= 0:
        raise InvalidArgument("the archive goes on behind its end")


def _entry(member: Member, limits: ArchiveLimits, *, fifos: bool) -> TarEntry:
    name = _inside(member, member.name, limits)
    mode = member.mode & _MODE
    if member.type == tar_members.FILE and name:
        return TarEntry(name, "file", mode, member.size)
    if member.type == tar_members.DIRECTORY:
        return TarEntry(name, "dir", mode, 0)
    if member.type == tar_members.SYMBOLIC_LINK and name:
        return TarEntry(name, "symlink", mode, 0, _link_of(member, limits))
    if member.type == tar_members.HARD_LINK and name:
        return TarEntry(name, "hardlink", mode, 0, _inside(member, member.link, limits))
    if member.type == tar_members.FIFO and name and fifos:
        return TarEntry(name, "fifo", mode, 0)
    raise InvalidArgument(
        f"the entry {shown(member.name)} is neither a file, a directory nor a link"
    )


def _inside(member: Member, path: str, limits: ArchiveLimits) -> str:
    if len(os.fsencode(path)) > limits.path_bytes:
        raise InvalidArgument(f"the name of the entry {shown(member.name)} is too long")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in path:
        raise InvalidArgument(f"the entry {shown(member.name)} leaves the target")
    if len(parts) > COMPONENTS:
        raise InvalidArgument(f"the entry {shown(member.name)} is nested too deep")
    if any(len(os.fsencode(part)) > _COMPONENT_BYTES for part in parts):
        raise InvalidArgument(f"the name of the entry {shown(member.name)} is too long")
    return "/".join(parts)


def _link_of(member: Member, limits: ArchiveLimits) -> str:
    """Where a symbolic link leads. It may be absolute, and means the container's own root."""
    link = member.link
    if not link or "\0" in link or len(os.fsencode(link)) > min(limits.path_bytes, _LINK_BYTES):
        raise _leaves_target(member.name, link)
    return link


def _refuse_link_up(entry: TarEntry) -> None:
    """Refuse a relative link that climbs above the target; dockerd does so in uploads, too."""
    if entry.kind != "symlink" or entry.link.startswith("/"):
        return
    depth = entry.name.count("/")
    for part in entry.link.split("/"):
        depth += {"..": -1, ".": 0, "": 0}.get(part, 1)
        if depth < 0:
            raise _leaves_target(entry.name, entry.link)


def _entries_for_files(
    archive: BinaryIO, limits: ArchiveLimits
) -> Iterator[tuple[TarEntry, Content | None]]:
    """The entries of an archive of files; a link that leads away is refused."""
    for entry, content in read(archive, limits=limits):
        if entry.link.startswith("/"):
            raise _leaves_target(entry.name, entry.link)
        yield entry, content


def _leaves_target(name: str, link: str) -> InvalidArgument:
    return InvalidArgument(
        f"the entry {shown(name)} is a link to {shown(link)}, which leaves the target"
    )


def _write(entry: TarEntry, content: Content | None, target: Path) -> None:
    path = target / entry.name
    _make_parents(path, target)
    if entry.kind == "dir":
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
            path.mkdir()
        if entry.name:
            path.chmod(entry.mode | stat.S_IRWXU)
        return
    if path.is_dir() and not path.is_symlink():
        raise InvalidArgument(f"the entry {shown(entry.name)} would replace a directory")
    path.unlink(missing_ok=True)
    if entry.kind == "symlink":
        path.symlink_to(entry.link)
    elif entry.kind == "hardlink":
        _link(entry, path, target)
    elif entry.kind == "fifo":
        os.mkfifo(path)
        path.chmod(entry.mode)
    elif content is not None:
        with path.open("xb") as file:
            shutil.copyfileobj(content, file, _COPY_BYTES)
        path.chmod(entry.mode)


def _make_parents(path: Path, target: Path) -> None:
    """Make what is missing between target and path; a link on the way is refused."""
    below = target
    for part in path.relative_to(target).parts[:-1]:
        below /= part
        if below.is_symlink() or (below.exists() and not below.is_dir()):
            raise InvalidArgument(f"{shown(str(below.relative_to(target)))} is no directory")
        below.mkdir(exist_ok=True)


def _link(entry: TarEntry, path: Path, target: Path) -> None:
    linked = target / entry.link
    _make_parents(linked, target)
    if linked.is_symlink() or not (linked.is_file() or linked.is_fifo()):
        raise no_file(entry)
    path.hardlink_to(linked)


def no_file(entry: TarEntry) -> InvalidArgument:
    """The refusal of a hard link to what is no file."""
    return InvalidArgument(
        f"the entry {shown(entry.name)} is a link to {shown(entry.link)}, which is no file"
    )


def _sha256(content: Content) -> str:
    digest = hashlib.sha256()
    while chunk := content.read(_COPY_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def shown(name: str) -> str:
    """Return a name for an error."""
    return repr(name if len(name) <= 200 else f"{name[:200]}...")  # noqa: PLR2004  enough to find it
