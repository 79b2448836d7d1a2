"""
A layer of Peitho's own, unpacked while it arrives.

It was checked when it was made (formats/images/layers.py), and nobody uses what comes of it before
its sha256 was checked again. So this knows that format alone, and is quick where there are 45,000
files and a tenth of a CPU: each is opened by its directory's descriptor, and written from the
buffer into which it came. Nothing outside the target is ever written. It has few imports, as those
are half of what a small layer takes.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Callable
from contextlib import suppress

from peitho.errors import InvalidArgument, PeithoError

ReadInto = Callable[[memoryview], int]

_BLOCK_BYTES = 512
_BUFFER_BYTES = 1024 * 1024
_PAX_BYTES = 256 * 1024
_MOST_PARTS = 220  # 200 are taken of a peer, below the image's own directory
_MODE = 0o7777
_OWNERS = 0o700
_OF_OWNERS = stat.S_ISUID | stat.S_ISGID
_FILE, _HARD_LINK, _LINK, _DIRECTORY, _FIFO, _PAX = b"0", b"1", b"2", b"5", b"6", b"x"
_MADE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPENED = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SPACES = 8 * ord(" ")
# What a layer itself can be the cause of; all else is the volume's.
_OF_A_PATH = (errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
_OF_THE_LAYER = (*_OF_A_PATH, errno.EEXIST, errno.EISDIR)


def unpack(read_into: ReadInto, digest: str, target: str) -> None:
    """
    Unpack a layer into an empty directory, which is empty again if it is not what it should be.

    `read_into` fills a buffer from the start, as far as it can, and returns 0 at the end; what it
    raises is raised. Raises PeithoError if the sha256 is another, or there is no room for it,
    InvalidArgument for what is no layer.
    """
    source = _Source(read_into)
    umask = os.umask(0)
    try:
        _unpack_all(source, target)
        source.skip_rest()
        source.check(digest)
    except BaseException as error:
        with suppress(OSError):  # what the volume did not do first is told, and was no layer
            empty(target)
        fault = error if error is source.broken_off else _fault(error)
        if isinstance(fault, InvalidArgument):  # a damaged one may look like any other
            source.skip_rest()
            source.check(digest)
        if fault is error:
            raise
        raise fault from error
    finally:
        os.umask(umask)


def empty(directory: str) -> None:
    """Remove all that is in a directory. However deep it is, three descriptors are open at most."""
    here = os.open(directory, _OPENED)
    left = [_without_files(here)]  # the directories in each one down to here
    try:
        while left[0]:
            if left[-1]:
                here = _moved(here, left[-1][-1])
                left.append(_without_files(here))
            else:
                here = _moved(here, "..")
                left.pop()
                os.rmdir(left[-1].pop(), dir_fd=here)
    finally:
        os.close(here)


def _moved(here: int, name: str) -> int:
    there = os.open(name, _OPENED, dir_fd=here)
    os.close(here)
    return there


def _without_files(directory: int) -> list[str]:
    """Remove all but the directories in a directory, and return their names."""
    with os.scandir(directory) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_directory in found:
        if not is_directory:
            os.unlink(name, dir_fd=directory)
    return [name for name, is_directory in found if is_directory]


class _Source:
    """What arrives: a buffer of it, and the sha256 of all of it so far."""

    def __init__(self, read_into: ReadInto) -> None:
        self._read_into = read_into
        self._buffer = bytearray(_BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        self._sha256 = hashlib.sha256()
        self.broken_off: Exception | None = None

    def take(self, size: int) -> memoryview:
        """Return the next bytes, up to so many; they are good until the next call."""
        if self._start == self._end:
            self._fill()
        end = min(self._start + size, self._end)
        taken = self._view[self._start : end]
        self._start = end
        if not taken:
            raise InvalidArgument("not a whole layer: it is cut")
        return taken

    def exactly(self, size: int) -> bytes:
        """Return the next bytes, so many."""
        taken = bytes(self.take(size))
        while len(taken) < size:
            taken += self.take(size - len(taken))
        return taken

    def skip(self, size: int) -> None:
        """Let go of so many bytes."""
        while size:
            size -= len(self.take(size))

    def skip_rest(self) -> None:
        """Read to the end."""
        while self._start < self._end or self._fill():
            self._start = self._end

    def check(self, digest: str) -> None:
        """Raise PeithoError if what has arrived has another digest."""
        actual = f"sha256:{self._sha256.hexdigest()}"
        if actual != digest:
            raise PeithoError(f"the layer is damaged: it is {actual}, and should be {digest}")

    def _fill(self) -> int:
        self._start = self._end = 0
        try:
            self._end = self._read_into(self._view)
        except Exception as error:
            self.broken_off = error
            raise
        self._sha256.update(self._view[: self._end])
        return self._end


class _Directories:
    """The directories from the target down to the one that was asked for last, all open."""

    def __init__(self, target: str) -> None:
        self._open = [("", os.open(target, _OPENED))]

    def close(self) -> None:
        """Close all."""
        while self._open:
            os.close(self._open.pop()[1])

    def descriptor(self, path: str) -> int:
        """Return that of a directory, which is made if it is missing. No link is followed."""
        name, descriptor = self._open[-1]
        if path == name:
            return descriptor
        if path.count("/") > _MOST_PARTS:
            raise InvalidArgument(f"the directory {path[:200]!r} is nested too deep")
        while name and not path.startswith(f"{name}/"):
            os.close(self._open.pop()[1])
            name, descriptor = self._open[-1]
            if path == name:
                return descriptor
        for part in path[len(name) + 1 if name else 0 :].split("/"):
            try:
                descriptor = _opened(part, descriptor)
            except OSError as error:
                if error.errno not in _OF_A_PATH:
                    raise
                raise InvalidArgument(f"{path!r} is no directory: {error.strerror}") from error
            name = f"{name}/{part}" if name else part
            self._open.append((name, descriptor))
        return descriptor


def _opened(part: str, parent: int) -> int:
    try:
        return os.open(part, _OPENED, dir_fd=parent)
    except FileNotFoundError:
        os.mkdir(part, 0o755, dir_fd=parent)
        return os.open(part, _OPENED, dir_fd=parent)


def _unpack_all(source: _Source, target: str) -> None:
    directories = _Directories(target)
    records: dict[bytes, bytes] = {}
    try:
        while any(header := source.exactly(_BLOCK_BYTES)):
            kind = _kind(header)
            size = abs(int(header[124:135], 8))
            if kind == _PAX:
                records = _pax(source, size)
                continue
            if kind != _FILE:
                size = 0
            elif b"size" in records:
                size = abs(int(records[b"size"]))
            name = _path(records.get(b"path") or _name(header))
            link = records.get(b"linkpath") or header[157:257].split(b"\0", 1)[0]
            records = {}
            mode = int(header[100:107], 8) & _MODE
            if name:
                parent, _, own = name.rpartition("/")
                descriptor = directories.descriptor(parent)
                if kind == _FILE:
                    _write(source, size, own, mode, descriptor)
                elif kind == _HARD_LINK:
                    _link_again(_path(link), own, descriptor, target)
                else:
                    _make(kind, link, name, mode, descriptor)
            source.skip(-size % _BLOCK_BYTES)
    except ValueError as error:
        raise InvalidArgument("not a layer: a header is damaged") from error
    finally:
        directories.close()


def _fault(error: BaseException) -> BaseException:
    """Return what an error says of the layer, or of the volume."""
    if not isinstance(error, OSError):
        return error
    if error.errno in _OF_THE_LAYER:
        return InvalidArgument(f"not a layer: {error.strerror}: {error.filename!r}")
    return PeithoError(f"the layer cannot be written: {error}")


def _kind(header: bytes) -> bytes:
    if int(header[148:154], 8) != sum(header) - sum(header[148:156]) + _SPACES:
        raise InvalidArgument("not a layer: a header is damaged")
    return header[156:157]


def _name(header: bytes) -> bytes:
    name = header[:100].split(b"\0", 1)[0]
    return header[345:500].split(b"\0", 1)[0] + b"/" + name if header[345] else name


def _path(name: bytes) -> str:
    """Return a name, relative to the target and empty for that. Raises InvalidArgument."""
    path = name.decode("utf-8", "surrogateescape").strip("/")
    if ".." in path or "//" in path or "./" in path or "\0" in path:
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if ".." in parts or "\0" in path:
            raise InvalidArgument(f"the entry {path!r} leaves the target")
        path = "/".join(parts)
    return "" if path == "." else path


def _pax(source: _Source, size: int) -> dict[bytes, bytes]:
    """Return the records of a PAX header: `LENGTH KEY=VALUE` and a newline, LENGTH long."""
    if size > _PAX_BYTES:
        raise InvalidArgument("not a layer: a name is too long")
    data = source.exactly(size)
    source.skip(-size % _BLOCK_BYTES)
    records = {}
    while data:
        length, _, _ = data.partition(b" ")
        if not 0 < int(length) <= len(data):
            raise InvalidArgument("not a layer: a header is damaged")
        key, _, value = data[len(length) + 1 : int(length) - 1].partition(b"=")
        records[key], data = value, data[int(length) :]
    return records


def _write(source: _Source, size: int, name: str, mode: int, parent: int) -> None:
    descriptor = os.open(name, _MADE, mode, dir_fd=parent)
    try:
        while size:
            data = source.take(size)
            size -= len(data)
            while data:
                data = data[os.write(descriptor, data) :]
        if mode & _OF_OWNERS:  # a write by who is not root takes them away
            os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def _make(kind: bytes, link: bytes, path: str, mode: int, parent: int) -> None:
    name = path.rpartition("/")[2]
    if kind == _DIRECTORY:
        try:
            os.mkdir(name, dir_fd=parent)
        except FileExistsError:
            os.close(os.open(name, _OPENED, dir_fd=parent))  # it is one
        os.chmod(name, mode | _OWNERS, dir_fd=parent)
    elif kind == _LINK:
        os.symlink(link, os.fsencode(name), dir_fd=parent)
    elif kind == _FIFO:
        os.mkfifo(name, mode, dir_fd=parent)
    else:
        raise InvalidArgument(f"the entry {path!r} is neither a file, a directory nor a link")


def _link_again(first: str, name: str, parent: int, target: str) -> None:
    """Give a file another name."""
    directories = _Directories(target)
    try:
        place, _, own = first.rpartition("/")
        descriptor = directories.descriptor(place)
        if not own or not _is_file(own, descriptor):
            raise InvalidArgument(f"the entry {name!r} is a link to {first!r}, no file")
        os.link(own, name, src_dir_fd=descriptor, dst_dir_fd=parent, follow_symlinks=False)
    finally:
        directories.close()


def _is_file(name: str, parent: int) -> bool:
    try:
        return not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False
