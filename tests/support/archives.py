"""Small tar archives for tests, of entries as anyone could write them."""

import io
import tarfile
from collections.abc import Iterable

Member = tuple[tarfile.TarInfo, bytes]


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


def archive(*members: Member, compression: str = "") -> io.BytesIO:
    """An archive of these entries, at its beginning."""
    return io.BytesIO(archive_bytes(members, compression=compression))


def archive_bytes(members: Iterable[Member], *, compression: str = "") -> bytes:
    """The bytes of an archive of these entries."""
    out = io.BytesIO()
    mode = f"w:{compression}" if compression else "w:"
    with tarfile.open(fileobj=out, mode=mode) as target:  # type: ignore[call-overload]  # a mode put together
        for info, content in members:
            target.addfile(info, io.BytesIO(content))
    return out.getvalue()
