"""
Tar archives from outside: hostile until read.

Names are taken from the target down, as dockerd does, so `/etc/x` and `etc/x` are the same; what
would leave the target (`..`, links, links planted earlier) and what is no file, directory or link
is refused with its name.  Contents are streams, never whole in memory.
"""

import gzip
import hashlib
import os
import shutil
import stat
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, Literal, Self, cast

from peitho.errors import InvalidArgument

Kind = Literal["file", "dir", "symlink", "hardlink"]

_COPY_BYTES = 1024 * 1024
_GZIP = b"\x1f\x8b"
# Headers that hold a long name or attributes of the next entry; tarfile reads each whole.
_EXTENSIONS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
_EXTENSION_BYTES = 64 * 1024
_MODE = 0o7777


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """How much one archive may hold; sizes are unpacked."""

    entries: int = 200_000
    total_bytes: int = 4 * 1024**3
    path_bytes: int = 4096


# For archives that have been checked before: Peitho's own, on their way to a Pod.
CHECKED = ArchiveLimits(entries=sys.maxsize, total_bytes=sys.maxsize)


@dataclass(frozen=True, slots=True)
class TarEntry:
    """One entry; `name` is relative and normalized, empty for the root; `link` as it was given."""

    name: str
    kind: Kind
    mode: int
    size: int
    link: str = ""
    sha256: str = ""


def scan(archive: BinaryIO, *, limits: ArchiveLimits, digests: bool = False) -> list[TarEntry]:
    """
    Read an archive to its end, and check all of it; with `digests`, the contents' sha256 too.

    Raises InvalidArgument that names the entry; also for an archive that is cut or no archive.
    """
    entries = []
    with whole():
        for entry, content in read(archive, limits=limits):
            digest = _sha256(content) if content and digests else ""
            entries.append(
                TarEntry(entry.name, entry.kind, entry.mode, entry.size, entry.link, digest)
            )
    return entries


def unpack(archive: BinaryIO, target: Path, *, limits: ArchiveLimits) -> list[TarEntry]:
    """
    Write an archive's entries below a directory; owners and times are the writer's own.

    Raises InvalidArgument that names the entry; nothing outside the target is ever written.
    """
    entries = []
    with whole():
        for entry, content in read(archive, limits=limits):
            _write(entry, content, target)
            entries.append(entry)
    return entries


def read_files(archive: BinaryIO, *, limits: ArchiveLimits) -> dict[str, bytes]:
    """
    The regular files of a small archive: absolute path to content.

    Raises InvalidArgument, also past `limits.total_bytes`.
    """
    with whole():
        return {
            f"/{entry.name}": content.read()
            for entry, content in read(archive, limits=limits)
            if content is not None
        }


def pack(root: Path, out: BinaryIO) -> None:
    """A tar of a directory's content, named `./...`, as Docker's archive of `DIR/.` is."""
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.GNU_FORMAT) as archive:
        archive.add(root, arcname=".", filter=_without_owner_names)


def _without_owner_names(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
        return None  # a socket or fifo that the command left behind
    member.uname = member.gname = ""
    return member


def read(
    archive: BinaryIO, *, limits: ArchiveLimits
) -> Iterator[tuple[TarEntry, IO[bytes] | None]]:
    """
    The entries of an archive, each checked, and the content of files; to be used within `whole()`.

    A content must be read before the next entry is asked for.  Raises InvalidArgument.
    """
    total = 0
    leaves = _Leaves()
    with (
        whole(),
        _unpacked(archive) as plain,
        tarfile.open(fileobj=plain, mode="r|*", tarinfo=_Header) as source,
    ):
        for number, member in enumerate(source):
            if number >= limits.entries:
                raise InvalidArgument(
                    f"the archive has more than {limits.entries} entries, at {_shown(member.name)}"
                )
            total += max(0, member.size)
            if total > limits.total_bytes:
                raise InvalidArgument(
                    f"the archive unpacks to more than {limits.total_bytes} bytes, "
                    f"at {_shown(member.name)}"
                )
            entry = _entry(member, limits)
            leaves.check(entry)
            yield entry, source.extractfile(member) if entry.kind == "file" else None
        _drain(plain, limits=limits)


class _Header(tarfile.TarInfo):
    """A header that is damaged, or missing before the end, is not taken for the end."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(archive)
        except tarfile.HeaderError as error:
            if type(error).__name__ == "EOFHeaderError":
                raise  # two blocks of zeros: the end
            raise InvalidArgument(f"not a whole tar archive: {error}") from error

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buf, encoding, errors)
        if header.type in _EXTENSIONS and header.size > _EXTENSION_BYTES:
            raise InvalidArgument("not a whole tar archive: a name or header is too long")
        return header


@contextmanager
def _unpacked(archive: BinaryIO) -> Iterator[BinaryIO]:
    """The archive without its gzip, checked: tarfile alone looks neither at its CRC nor its end."""
    magic = archive.read(len(_GZIP))
    archive.seek(-len(magic), os.SEEK_CUR)
    if magic != _GZIP:
        yield archive
        return
    with gzip.GzipFile(fileobj=archive) as plain:
        yield cast("BinaryIO", plain)


def _drain(plain: IO[bytes], *, limits: ArchiveLimits) -> None:
    """Read what follows the end of the archive, to see that its compression ends as it should."""
    left = limits.total_bytes
    while left > 0 and (chunk := plain.read(_COPY_BYTES)):
        left -= len(chunk)
    if left <= 0:
        raise InvalidArgument("the archive goes on behind its end")


class _Leaves:
    """What is no directory in an archive so far: nothing may be written below it."""

    def __init__(self) -> None:
        self._kinds: dict[str, Kind] = {}

    def check(self, entry: TarEntry) -> None:
        for parent in PurePosixPath(entry.name).parents:
            if kind := self._kinds.get(str(parent)):
                word = "link" if kind == "symlink" else "file"
                raise InvalidArgument(
                    f"the entry {_shown(entry.name)} lies below the {word} {_shown(str(parent))}"
                )
        if entry.kind == "dir":
            self._kinds.pop(entry.name, None)
        else:
            self._kinds[entry.name] = entry.kind


def _entry(member: tarfile.TarInfo, limits: ArchiveLimits) -> TarEntry:
    name = name_of(member, limits)
    mode = member.mode & _MODE
    if member.isreg() and name and not member.issparse():
        return TarEntry(name, "file", mode, member.size)
    if member.isdir():
        return TarEntry(name, "dir", mode, 0)
    if member.issym():
        _stay_inside(PurePosixPath(name).parent, member)
        return TarEntry(name, "symlink", mode, 0, member.linkname)
    if member.islnk():
        return TarEntry(name, "hardlink", mode, 0, _inside(member.linkname, member))
    raise InvalidArgument(
        f"the entry {_shown(member.name)} is neither a file, a directory nor a link"
    )


def name_of(member: tarfile.TarInfo, limits: ArchiveLimits) -> str:
    """The name of a member as its `Entry` has it.  Raises InvalidArgument."""
    if len(os.fsencode(member.name)) > limits.path_bytes:
        raise InvalidArgument(f"the name of the entry {_shown(member.name)} is too long")
    return _inside(member.name, member)


def _inside(name: str, member: tarfile.TarInfo) -> str:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in name:
        raise InvalidArgument(f"the entry {_shown(member.name)} leaves the target")
    return "/".join(parts)


def _stay_inside(directory: PurePosixPath, member: tarfile.TarInfo) -> None:
    """A relative link must not climb above the target; an absolute one does at once."""
    link = member.linkname
    depth = len([part for part in directory.parts if part != "."])
    for part in link.split("/"):
        depth += {"..": -1, ".": 0, "": 0}.get(part, 1)
        if depth < 0:
            break
    if link.startswith("/") or depth < 0 or not link or "\0" in link:
        raise InvalidArgument(
            f"the entry {_shown(member.name)} is a link to {_shown(link)}, which leaves the target"
        )


def _write(entry: TarEntry, content: IO[bytes] | None, target: Path) -> None:
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
        raise InvalidArgument(f"the entry {_shown(entry.name)} would replace a directory")
    path.unlink(missing_ok=True)
    if entry.kind == "symlink":
        path.symlink_to(entry.link)
    elif entry.kind == "hardlink":
        _link(entry, path, target)
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
            raise InvalidArgument(f"{_shown(str(below.relative_to(target)))} is no directory")
        below.mkdir(exist_ok=True)


def _link(entry: TarEntry, path: Path, target: Path) -> None:
    linked = target / entry.link
    _make_parents(linked, target)
    if linked.is_symlink() or not linked.is_file():
        raise no_file(entry)
    path.hardlink_to(linked)


def no_file(entry: TarEntry) -> InvalidArgument:
    """The refusal of a hard link to what is no file."""
    return InvalidArgument(
        f"the entry {_shown(entry.name)} is a link to {_shown(entry.link)}, which is no file"
    )


def _sha256(content: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := content.read(_COPY_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def _shown(name: str) -> str:
    return repr(name if len(name) <= 200 else f"{name[:200]}...")  # noqa: PLR2004  enough to find it


@contextmanager
def whole() -> Iterator[None]:
    """What tarfile and its decompressors raise for a broken archive, as one kind."""
    try:
        yield
    except (tarfile.TarError, EOFError, ValueError, LookupError, OverflowError) as error:
        raise InvalidArgument(f"not a whole tar archive: {error}") from error
    except RecursionError as error:  # headers of headers of headers
        raise InvalidArgument(f"not a whole tar archive: {error}") from error
    except OSError as error:
        # gzip tells of damage by OSError without errno; a full disk has one.
        if error.errno is None:
            raise InvalidArgument(f"not a whole tar archive: {error}") from error
        raise
    except Exception as error:
        # zlib.error and lzma.LZMAError share nothing but Exception.
        if type(error).__module__ in ("zlib", "_lzma", "lzma"):
            raise InvalidArgument(f"not a whole tar archive: {error}") from error
        raise
