"""
Kept builds in the data directory: `builds/KEY/` has the log, the result and a record.

An entry appears whole or not at all: it is made aside, synced and renamed. A user of an entry gets
hard links of its own, so removing an entry takes nothing from anybody. The record is sealed and has
the digests of log and result: an entry is verified whole before each use, and a damaged one is set
aside, as if it had never been kept.
"""

import json
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

import structlog
from prometheus_client import Counter

from peitho.clients.disk.damaged import DamagedFiles
from peitho.clients.disk.room import room
from peitho.clients.disk.sealed import is_sealed, seal, unseal
from peitho.clients.disk.storage import sha256, sync_directory
from peitho.clients.disk.verification import DamagedFile, content_of, digest_of
from peitho.errors import PeithoError

log = structlog.get_logger()

LOG = "log"
RESULT = "result"
ABOUT = "about.json"
_LOG_DIGEST = "log_digest"
_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class KeptBuild:
    """
    The record of a build that succeeded.

    `digest` is the sha256 of the result, `architecture` Go's name, `kept_at` Unix seconds; `origin`
    is what is told of the build (`formats/images/origin`).
    """

    digest: str
    architecture: str
    image: str
    seconds: float
    kept_at: float
    origin: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """An entry on the disk; `used_at` and `kept_at` are Unix seconds."""

    key: str
    bytes: int
    used_at: float
    kept_at: float


@dataclass(frozen=True, slots=True)
class _Placed:
    """The inode and time of an entry's directory, and the digest of its result or nothing."""

    stamp: tuple[int, int]
    result: str


class BuildCache:
    """
    The kept builds of one data directory, where they are `builds/`.

    Whoever only `looks` sets none of them aside.
    """

    def __init__(self, root: Path, *, looks: bool = False) -> None:
        self._root = root
        self._aside = root / ".aside"
        self._damaged = DamagedFiles(root.parent / "damaged", looks=looks)
        # No entry may be put where a damaged one is being taken away.
        self._placing = threading.Lock()
        # The results of entries as they were placed: an entry never changes, but for its times.
        self._results: dict[str, _Placed] = {}

    @classmethod
    def open(cls, root: Path) -> Self:
        """Make the directory, and remove what an earlier run left half-made: it must have ended."""
        cache = cls(root)
        with room():
            shutil.rmtree(cache._aside, ignore_errors=True)
            cache._aside.mkdir(parents=True)
        return cache

    def keep(self, key: str, build: KeptBuild, directory: Path) -> None:
        """
        Keep the log and the result in a directory, with a record of the build.

        Raises StorageFull, StorageUnusable.
        """
        with room():
            entry = Path(tempfile.mkdtemp(dir=self._aside))
            try:
                for name in (LOG, RESULT):
                    (entry / name).hardlink_to(directory / name)
                    _sync(entry / name)
                about = asdict(build) | {_LOG_DIGEST: sha256(entry / LOG)}
                (entry / ABOUT).write_bytes(seal(json.dumps(about).encode()))
                _sync(entry / ABOUT)
                sync_directory(entry)
                with self._placing:
                    self.drop(key)
                    entry.rename(self._root / key)
                sync_directory(self._root)
            finally:
                shutil.rmtree(entry, ignore_errors=True)

    def has(self, key: str) -> bool:
        """Whether there is an entry, whatever is in it."""
        return (self._root / key).is_dir()

    def use(self, key: str, directory: Path) -> KeptBuild | None:
        """
        Link log and result into a directory; return the record, or None if nothing whole is kept.

        All of it is read before: only threads may wait for it.
        """
        entry = self._root / key
        try:
            inode = entry.stat().st_ino
        except FileNotFoundError:
            return None
        try:
            build = read_entry(entry)
            if build is None:
                log.info("kept build has no digests and is dropped", key=key)
                self.drop(key)
                return None
            for name in (LOG, RESULT):
                (directory / name).hardlink_to(entry / name)
            os.utime(entry / ABOUT)
        except BadEntryError as error:
            self._set_aside(entry, inode, str(error))
            return None
        except (OSError, PeithoError) as error:
            log.warning("kept build cannot be used", key=key, cause=str(error))
            return None
        return build

    def give(self, key: str, directory: Path, outcomes: Counter) -> Path | None:
        """
        Return the result that is kept, linked into a directory of the asker's, or None.

        Unless it is there from before, it is used, and counted as `given` or `none`: only threads
        may wait for it.
        """
        result = directory / RESULT
        if not result.exists():
            directory.mkdir(exist_ok=True)
            kept = self.use(key, directory)
            outcomes.labels("given" if kept else "none").inc()
        return result if result.exists() else None

    def find(self, digest: str) -> KeptBuild | None:
        """
        Return the record of a build with that result, if one is kept; log and result are not read.

        Records that were not there before are read: only threads may wait for it.
        """
        for entry in self._root.iterdir() if self._root.is_dir() else ():
            if not is_key(entry.name):
                continue
            try:
                if self._result_of(entry) == digest:
                    return _record(entry)[0]
            except (DamagedFile, OSError, ValueError, TypeError, KeyError):
                continue  # whoever uses it sets it aside
        return None

    def drop(self, key: str) -> None:
        """Remove an entry; it may be gone already. Raises StorageUnusable."""
        aside = partial(tempfile.TemporaryDirectory, dir=self._aside)
        with room(), aside() as gone, suppress(FileNotFoundError):
            (self._root / key).rename(Path(gone) / key)
            self._results.pop(key, None)

    def entries(self) -> Iterator[CacheEntry]:
        """
        Yield all entries; anything else in the directory is passed over.

        One whose record cannot be read is as old as its directory: it goes one day, as all do.
        """
        for entry in sorted(self._root.iterdir()) if self._root.is_dir() else ():
            if not is_key(entry.name):
                continue
            try:
                about = entry / ABOUT
                size = sum(file.stat().st_size for file in entry.iterdir())
                used_at = (about if about.exists() else entry).stat().st_mtime
                yield CacheEntry(entry.name, size, used_at=used_at, kept_at=_kept_at(entry))
            except OSError:
                continue

    def _result_of(self, entry: Path) -> str:
        """
        Return the digest of an entry's result; what a build has downloaded is none.

        That has no architecture. A record is read once, and not for each result that is asked for.
        """
        status = entry.stat()
        stamp = status.st_ino, status.st_mtime_ns
        placed = self._results.get(entry.name)
        if placed is None or placed.stamp != stamp:
            build = _record(entry)[0]
            digest = build.digest if build and build.architecture else ""
            placed = self._results[entry.name] = _Placed(stamp, digest)
        return placed.result

    def _set_aside(self, entry: Path, inode: int, cause: str) -> None:
        with self._placing:
            try:
                if entry.stat().st_ino != inode:
                    return
            except FileNotFoundError:
                return
            self._damaged.put(entry, kind="build", cause=cause)


class BadEntryError(Exception):
    """An entry is not as it was written."""


def is_key(name: str) -> bool:
    """Whether an entry may be called so."""
    return _KEY.fullmatch(name) is not None


def read_entry(entry: Path) -> KeptBuild | None:
    """
    Read an entry whole, and return its record; None if an earlier Peitho wrote it, unsealed.

    Raises BadEntryError, OSError.
    """
    try:
        build, digests = _record(entry)
        for name, digest in digests.items():
            _verify(entry / name, digest)
    except (ValueError, TypeError, KeyError) as error:
        raise BadEntryError(f"its record cannot be read: {error}") from error
    except (DamagedFile, FileNotFoundError) as error:
        raise BadEntryError(str(error)) from error
    return build


def _record(entry: Path) -> tuple[KeptBuild | None, dict[str, str]]:
    """Return the record of an entry, and the digests of its files; None if it has no seal."""
    _, content = content_of(entry / ABOUT)
    about = _mapping(unseal(content))
    if not is_sealed(content) and "digest" in about:
        return None, {}
    digests = {LOG: about.pop(_LOG_DIGEST), RESULT: about["digest"]}
    return KeptBuild(**about), digests


def _verify(path: Path, digest: str) -> None:
    stamp, actual = digest_of(path)
    if actual != digest:
        raise DamagedFile(f"the sha256 of its {path.name} is {actual} instead of {digest}", stamp)


def _kept_at(entry: Path) -> float:
    try:
        _, content = content_of(entry / ABOUT)
        return float(_mapping(unseal(content))["kept_at"])
    except (DamagedFile, FileNotFoundError, ValueError, TypeError, KeyError):
        return entry.stat().st_mtime


def _mapping(record: bytes) -> dict[str, Any]:
    about = json.loads(record)
    if not isinstance(about, dict):
        raise TypeError("it is no mapping")
    return about


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
