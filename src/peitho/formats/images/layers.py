"""The layer of a chaincode image: what the Dockerfile adds, with the same bytes each time."""

import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import BinaryIO

from peitho.formats import tar
from peitho.formats.tar import ArchiveLimits, TarEntry


def write(
    archive: BinaryIO, layer: BinaryIO, *, directory: str, limits: ArchiveLimits
) -> list[TarEntry]:
    """
    Write what `ADD archive directory` adds as an uncompressed layer; return its entries.

    Equal contents give equal bytes: entries are sorted, hard links come last, times and owners are
    zero. `archive` must be seekable. Raises InvalidArgument.
    """
    base = PurePosixPath(directory.strip("/"))
    entries = {entry.name: entry for entry in tar.scan(archive, limits=limits)}
    archive.seek(0)
    with tar.whole(), tarfile.open(fileobj=archive, mode="r:*") as source:
        members = {tar.name_of(member, limits): member for member in source}
        with tarfile.open(fileobj=layer, mode="w", format=tarfile.PAX_FORMAT) as target:
            written = [*_parents(base)]
            for parent in written:
                target.addfile(_header(parent))
            for name in sorted(entries, key=lambda path: _order(entries[path])):
                if not name:
                    continue  # the directory itself is among its own parents
                entry = _below(base, _resolved(entries[name], entries))
                content = source.extractfile(members[name]) if entry.kind == "file" else None
                target.addfile(_header(entry), content)
                written.append(entry)
    return written


def _order(entry: TarEntry) -> tuple[bool, PurePosixPath]:
    return entry.kind == "hardlink", PurePosixPath(entry.name)


def _resolved(entry: TarEntry, entries: Mapping[str, TarEntry]) -> TarEntry:
    """Make a hard link name what is no link itself, so that the order of links does not matter."""
    if entry.kind != "hardlink":
        return entry
    seen = {entry.name}
    linked = entries.get(entry.link)
    while linked and linked.kind == "hardlink" and linked.name not in seen:
        seen.add(linked.name)
        linked = entries.get(linked.link)
    if linked is None or linked.kind != "file":
        raise tar.no_file(entry)
    return replace(entry, link=linked.name)


def _parents(base: PurePosixPath) -> Iterator[TarEntry]:
    for path in [*reversed(base.parents), base]:
        if str(path) != ".":
            yield TarEntry(str(path), "dir", 0o755, 0)


def _below(base: PurePosixPath, entry: TarEntry) -> TarEntry:
    link = str(base / entry.link) if entry.kind == "hardlink" else entry.link
    return TarEntry(str(base / entry.name), entry.kind, entry.mode, entry.size, link)


def _header(entry: TarEntry) -> tarfile.TarInfo:
    header = tarfile.TarInfo(entry.name)
    header.mode = entry.mode
    header.size = entry.size
    header.linkname = entry.link
    header.type = {
        "file": tarfile.REGTYPE,
        "dir": tarfile.DIRTYPE,
        "symlink": tarfile.SYMTYPE,
        "hardlink": tarfile.LNKTYPE,
    }[entry.kind]
    return header
