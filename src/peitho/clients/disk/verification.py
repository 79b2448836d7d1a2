"""
What was found to be as it was written: which file, with which digest, and when.

A file whose size, time and inode are the same is taken for the same, for a day and for this run. A
hand-over reads it again.
"""

import errno
import hashlib
import io
import os
import stat
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from peitho.formats.bounded_dict import BoundedDict

_DAY_SECONDS = 86_400.0
_REMEMBERED = 10_000
# The disk's own words for damage. Others, such as a missing right, are trouble of the whole store.
_ROTTEN = (errno.EIO, errno.EBADMSG, errno.EUCLEAN)
# What opening says of links that lead in a circle, and of sockets.
_NO_FILE = (errno.ELOOP, errno.ENXIO)


@dataclass(frozen=True, slots=True)
class Stamp:
    """How a file is known again without reading it."""

    size_bytes: int
    modified_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """Return the stamp of a file."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ino)


class DamagedFile(Exception):  # noqa: N818  a finding, which no caller outside of the store sees
    """A file is not as it was written; `stamp` is of the file that was read."""

    def __init__(self, cause: str, stamp: Stamp) -> None:
        super().__init__(cause)
        self.stamp = stamp


@dataclass(frozen=True, slots=True)
class _Finding:
    stamp: Stamp
    digest: str
    found_at: float


class Verification:
    """Remembers which files were verified; threads may share it."""

    def __init__(self, *, good_for_seconds: float = _DAY_SECONDS) -> None:
        self._good_for_seconds = good_for_seconds
        self._findings: BoundedDict[Path, _Finding] = BoundedDict(_REMEMBERED)
        self._lock = threading.Lock()

    def check(self, path: Path, digest: str) -> None:
        """
        Verify a file, unless it was verified today and has not changed.

        Raises DamagedFile, OSError.
        """
        with self._lock:
            known = self._findings.get(path)
        if (
            known is None
            or known.digest != digest
            or known.stamp != Stamp.of(path.stat())
            or time.monotonic() - known.found_at > self._good_for_seconds
        ):
            self.verify(path, digest)

    def verify(self, path: Path, digest: str) -> None:
        """
        Read a file whole: its sha256 has to be these hexadecimal digits.

        Raises DamagedFile, OSError.
        """
        stamp, actual = digest_of(path)
        if actual != digest:
            raise DamagedFile(f"its sha256 is {actual} instead of {digest}", stamp)
        self.note(path, digest, stamp)

    def note(self, path: Path, digest: str, stamp: Stamp) -> None:
        """Note that a file was found to have a digest."""
        with self._lock:
            self._findings[path] = _Finding(stamp, digest, time.monotonic())


def opened(path: Path) -> io.BufferedReader:
    """
    Open a file of the store to read it.

    Raises DamagedFile for all that is no file: who opens a FIFO waits for ever. Raises OSError.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        there = path.lstat()
        if error.errno in _NO_FILE and not stat.S_ISREG(there.st_mode):
            raise DamagedFile(f"it is no file: {error.strerror}", Stamp.of(there)) from error
        raise
    there = os.fstat(descriptor)
    if stat.S_ISREG(there.st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise DamagedFile("it is no file", Stamp.of(there))


def stamp_now(path: Path) -> Stamp:
    """Return the stamp of what is in a place, also of a link that leads nowhere. Raises OSError."""
    try:
        return Stamp.of(path.stat())
    except OSError:
        return Stamp.of(path.lstat())


def digest_of(path: Path) -> tuple[Stamp, str]:
    """Return the stamp and the sha256 of a file. Raises DamagedFile, OSError."""
    with opened(path) as file:
        stamp = Stamp.of(os.fstat(file.fileno()))
        try:
            return stamp, hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise _rotten(error, stamp) from error


def content_of(path: Path) -> tuple[Stamp, bytes]:
    """Return the stamp and the content of a small file. Raises DamagedFile, OSError."""
    with opened(path) as file:
        stamp = Stamp.of(os.fstat(file.fileno()))
        try:
            return stamp, file.read()
        except OSError as error:
            raise _rotten(error, stamp) from error


def _rotten(error: OSError, stamp: Stamp) -> Exception:
    if error.errno in _ROTTEN:
        return DamagedFile(f"it cannot be read: {error.strerror}", stamp)
    return error
