"""
What was found to be as it was written: which file, with which digest, and when.

A file whose size, time and inode are the same is taken for the same, for a day and for this run. A
hand-over reads it again.
"""

import errno
import hashlib
import os
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


@dataclass(frozen=True, slots=True)
class Stamp:
    """How a file is known again without reading it."""

    size_bytes: int
    modified_ns: int
    inode: int

    @classmethod
    def of(cls, stat: os.stat_result) -> Self:
        """Return the stamp of a file."""
        return cls(stat.st_size, stat.st_mtime_ns, stat.st_ino)


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


def digest_of(path: Path) -> tuple[Stamp, str]:
    """Return the stamp and the sha256 of a file. Raises DamagedFile, OSError."""
    with path.open("rb") as file:
        stamp = Stamp.of(os.fstat(file.fileno()))
        try:
            return stamp, hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise _rotten(error, stamp) from error


def content_of(path: Path) -> tuple[Stamp, bytes]:
    """Return the stamp and the content of a small file. Raises DamagedFile, OSError."""
    with path.open("rb") as file:
        stamp = Stamp.of(os.fstat(file.fileno()))
        try:
            return stamp, file.read()
        except OSError as error:
            raise _rotten(error, stamp) from error


def _rotten(error: OSError, stamp: Stamp) -> Exception:
    if error.errno in _ROTTEN:
        return DamagedFile(f"it cannot be read: {error.strerror}", stamp)
    return error
