"""The layer of a chaincode image: what the Dockerfile adds, with the same bytes each time."""

import stat
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import BinaryIO

from peitho.errors import InvalidArgument
from peitho.formats import tar, tar_places
from peitho.formats.tar import ArchiveLimits, TarEntry
from peitho.formats.tar_places import Placed

_COPY_BYTES = 1024 * 1024
_DIRECTORY_MODE = 0o755
# What a hard link may name: all but a directory.
_LINKED = ("file", "symlink", "fifo")


def write(
    archive: BinaryIO,
    layer: BinaryIO,
    *,
    directory: str,
    limits: ArchiveLimits,
    user: int | None = 0,
) -> list[TarEntry]:
    """
    Write what `ADD archive directory` adds as an uncompressed layer; return its entries.

    `user` runs the image, and owns the directory and all in it; None is a number that OpenShift
    chooses, whose group is 0, which then has the owner's rights. Equal contents give equal bytes
    for a user: entries are sorted, hard links come last, times are zero. `archive` must be seekable
    and not compressed. Raises InvalidArgument.
    """
    base = PurePosixPath(directory.strip("/"))
    placed = tar_places.places(archive, limits=limits)
    written = [*_parents(base)]
    layer.writelines(_header(parent) for parent in written[:-1])
    layer.writelines(_header(own, user) for own in written[-1:])
    for entry in sorted(_entries(placed), key=_order):
        if not entry.name:
            continue  # the directory itself is among its own parents
        added = _below(base, entry)
        layer.write(_header(added, user))
        if entry.kind == "file":
            _copy(archive, placed[entry.name], layer)
        written.append(added)
    _end(layer)
    return written


def _entries(placed: Mapping[str, Placed]) -> list[TarEntry]:
    """The entries of an archive, each hard link with the first name of what it leads to."""
    files = _hard_links(placed)
    return [
        _second_name(each.entry, placed[files[name]].entry) if name in files else each.entry
        for name, each in placed.items()
    ]


def _second_name(entry: TarEntry, first: TarEntry) -> TarEntry:
    """A hard link; one to a symbolic link is another with the same words."""
    if first.kind == "symlink":
        return replace(entry, kind="symlink", link=first.link)
    return replace(entry, link=first.name)


def _order(entry: TarEntry) -> tuple[bool, list[str]]:
    return entry.kind == "hardlink", entry.name.split("/")


def _hard_links(placed: Mapping[str, Placed]) -> dict[str, str]:
    """
    What each hard link leads to, by the link's name.

    A link then names what is no link itself, and the order of links does not matter.
    """
    files: dict[str, str] = {}
    for name, each in placed.items():
        if each.entry.kind != "hardlink":
            continue
        chain: dict[str, None] = {}
        at = name
        while at not in files and at not in chain:
            if at not in placed or placed[at].entry.kind != "hardlink":
                break
            chain[at] = None
            at = placed[at].entry.link
        file = files.get(at, at)
        if file not in placed or placed[file].entry.kind not in _LINKED:
            raise tar.no_file(each.entry)
        files.update(dict.fromkeys(chain, file))
    return files


def _copy(archive: BinaryIO, placed: Placed, layer: BinaryIO) -> None:
    archive.seek(placed.offset)
    left = placed.entry.size
    while left:
        chunk = archive.read(min(left, _COPY_BYTES))
        if not chunk:
            raise InvalidArgument("not a whole tar archive: it is cut")
        layer.write(chunk)
        left -= len(chunk)
    layer.write(bytes(-placed.entry.size % tarfile.BLOCKSIZE))


def _end(layer: BinaryIO) -> None:
    """Two blocks of zeros, and as many more as fill a record."""
    layer.write(bytes(2 * tarfile.BLOCKSIZE))
    layer.write(bytes(-layer.tell() % tarfile.RECORDSIZE))


def _parents(base: PurePosixPath) -> Iterator[TarEntry]:
    for path in [*reversed(base.parents), base]:
        if str(path) != ".":
            yield TarEntry(str(path), "dir", _DIRECTORY_MODE, 0)


def _below(base: PurePosixPath, entry: TarEntry) -> TarEntry:
    link = str(base / entry.link) if entry.kind == "hardlink" else entry.link
    return replace(entry, name=str(base / entry.name), link=link)


def _header(entry: TarEntry, user: int | None = 0) -> bytes:
    header = tarfile.TarInfo(entry.name)
    header.mode = entry.mode
    if entry.kind == "dir":
        header.mode |= stat.S_IRWXU  # as the puller makes them
    if user is None:
        header.mode |= (header.mode & stat.S_IRWXU) >> 3
    header.uid = header.gid = user or 0
    header.size = entry.size
    header.linkname = entry.link
    header.type = {
        "file": tarfile.REGTYPE,
        "dir": tarfile.DIRTYPE,
        "symlink": tarfile.SYMTYPE,
        "hardlink": tarfile.LNKTYPE,
        "fifo": tarfile.FIFOTYPE,
    }[entry.kind]
    return header.tobuf(tarfile.PAX_FORMAT, errors="surrogateescape")
