"""Small tar archives for tests, of entries as anyone could write them."""

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Callable, Iterable
from functools import partial

Member = tuple[tarfile.TarInfo, bytes]

_COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "gz": partial(gzip.compress, mtime=0),
    "bz2": bz2.compress,
    "xz": lzma.compress,
}


def file(name: str, content: bytes = b"x", *, mode: int = 0o644) -> Member:
    """A regular file."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    info.mode = mode
    return info, content


def directory(name: str, *, mode: int = 0o755) -> Member:
    """A directory."""
    return special(name, tarfile.DIRTYPE, mode=mode)


def symlink(name: str, target: str) -> Member:
    """A symbolic link."""
    return special(name, tarfile.SYMTYPE, link=target)


def hardlink(name: str, target: str) -> Member:
    """A hard link."""
    return special(name, tarfile.LNKTYPE, link=target)


def special(name: str, kind: bytes, *, link: str = "", mode: int = 0o644) -> Member:
    """An entry of any type, without content."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    return info, b""


def with_headers(member: Member, **records: str) -> Member:
    """The same entry, with records in a PAX header of its own."""
    member[0].pax_headers = records
    return member


def archive(*members: Member, compression: str = "") -> io.BytesIO:
    """An archive of these entries, at its beginning."""
    return io.BytesIO(archive_bytes(members, compression=compression))


def archive_bytes(members: Iterable[Member], *, compression: str = "") -> bytes:
    """The bytes of an archive of these entries: the same ones each time."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:") as target:
        for info, content in members:
            target.addfile(info, io.BytesIO(content))
    return _COMPRESSED[compression](out.getvalue())
