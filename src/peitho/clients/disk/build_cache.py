"""
Kept builds in the data directory: `builds/KEY/` has the log, the result and a record.

An entry appears whole or not at all: it is made aside, synced and renamed. A user of an entry gets
hard links of its own, so removing an entry takes nothing from anybody.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import structlog

from peitho.clients.disk.storage import room, sync_directory

log = structlog.get_logger()

LOG = "log"
RESULT = "result"
_ABOUT = "about.json"


@dataclass(frozen=True, slots=True)
class KeptBuild:
    """
    The record of a build that succeeded.

    `digest` is the sha256 of the result, `architecture` Go's name, `kept_at` Unix seconds.
    """

    digest: str
    architecture: str
    image: str
    seconds: float
    kept_at: float


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """An entry on the disk; `used_at` and `kept_at` are Unix seconds."""

    key: str
    bytes: int
    used_at: float
    kept_at: float


class BuildCache:
    """The kept builds of one data directory."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._aside = root / ".aside"

    @classmethod
    def open(cls, root: Path) -> Self:
        """Make the directory, and remove what an earlier run left half-made."""
        cache = cls(root)
        with room():
            shutil.rmtree(cache._aside, ignore_errors=True)
            cache._aside.mkdir(parents=True)
        return cache

    def keep(self, key: str, build: KeptBuild, directory: Path) -> None:
        """
        Keep the log and the result in a directory, with a record of the build.

        Raises StorageFull.
        """
        with room():
            entry = Path(tempfile.mkdtemp(dir=self._aside))
            try:
                for name in (LOG, RESULT):
                    (entry / name).hardlink_to(directory / name)
                    _sync(entry / name)
                (entry / _ABOUT).write_text(json.dumps(asdict(build)))
                _sync(entry / _ABOUT)
                sync_directory(entry)
                self.drop(key)
                entry.rename(self._root / key)
                sync_directory(self._root)
            finally:
                shutil.rmtree(entry, ignore_errors=True)

    def use(self, key: str, directory: Path) -> KeptBuild | None:
        """Link log and result into a directory; return the record, or None if nothing is kept."""
        entry = self._root / key
        if not entry.is_dir():
            return None
        try:
            build = KeptBuild(**_read(entry / _ABOUT))
            for name in (LOG, RESULT):
                (directory / name).hardlink_to(entry / name)
            os.utime(entry / _ABOUT)
        except (ValueError, TypeError, FileNotFoundError) as error:
            log.warning("kept build is damaged and dropped", key=key, cause=str(error))
            self.drop(key)
            return None
        except OSError as error:
            log.warning("kept build cannot be used", key=key, cause=str(error))
            return None
        return build

    def drop(self, key: str) -> None:
        """Remove an entry; it may be gone already."""
        with tempfile.TemporaryDirectory(dir=self._aside) as gone, suppress(FileNotFoundError):
            (self._root / key).rename(Path(gone) / key)

    def entries(self) -> Iterator[CacheEntry]:
        """Yield all entries; anything else in the directory is passed over."""
        for entry in sorted(self._root.iterdir()) if self._root.is_dir() else ():
            if entry == self._aside:
                continue
            try:
                about = entry / _ABOUT
                kept_at = float(_read(about)["kept_at"])
                size = sum(file.stat().st_size for file in entry.iterdir())
                yield CacheEntry(entry.name, size, used_at=about.stat().st_mtime, kept_at=kept_at)
            except (OSError, ValueError, KeyError, TypeError):
                continue


def _read(path: Path) -> dict[str, Any]:
    about = json.loads(path.read_text())
    if not isinstance(about, dict):
        raise TypeError("the record is no mapping")
    return about


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
