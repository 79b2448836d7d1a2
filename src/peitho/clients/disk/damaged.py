"""
What was found damaged: `damaged/TIME-KIND-NAME` in the data directory.

Nobody reads it but the operator. It is bounded in number and bytes, and the oldest go first.
"""

import shutil
import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import structlog

from peitho import metrics

log = structlog.get_logger()

_MOST = 100
_MOST_BYTES = 1024**3


class DamagedFiles:
    """
    The damaged files of one data directory; the latest always stays.

    Whoever only `looks` moves none of them.
    """

    def __init__(
        self,
        root: Path,
        *,
        looks: bool = False,
        most: int = _MOST,
        most_bytes: int = _MOST_BYTES,
    ) -> None:
        self._root = root
        self._looks = looks
        self._most = most
        self._most_bytes = most_bytes
        self._lock = threading.Lock()

    def put(self, path: Path, *, kind: str, cause: str) -> None:
        """Move a file or a directory here, and tell it; where it cannot be moved, it stays."""
        if self._looks:
            log.warning("stored file damaged", what=kind, path=str(path), cause=cause)
            return
        metrics.STORE_DAMAGED.labels(kind).inc()
        with self._lock:
            try:
                kept_as = self._move(path, f"{kind}-{path.name}")
                self._bound()
            except OSError as error:
                kept_as = f"not moved: {error}"
        log.error("stored file damaged", what=kind, path=str(path), cause=cause, kept_as=kept_as)

    def _move(self, path: Path, name: str) -> str:
        self._root.mkdir(exist_ok=True)
        target = self._root / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{name}"
        while target.exists():  # a rename would overwrite it
            target = target.with_name(f"{target.name}+")
        path.rename(target)
        return str(target)

    def _bound(self) -> None:
        entries = sorted(self._root.iterdir(), reverse=True)
        total = 0
        for number, entry in enumerate(entries, 1):
            total += _bytes(entry)
            if number > 1 and (number > self._most or total > self._most_bytes):
                total -= _bytes(entry)
                _remove(entry)


def _bytes(path: Path) -> int:
    files = path.iterdir() if path.is_dir() else (path,)
    return sum(file.lstat().st_size for file in files)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(FileNotFoundError):
            path.unlink()
