"""One serving Peitho for one data directory."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from peitho.clients.disk.room import room
from peitho.errors import Conflict

log = structlog.get_logger()


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """
    Hold the data directory; the system frees it when the process ends, however that is.

    Raises Conflict if another Peitho holds it, StorageUnusable.
    """
    with room():
        root.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC  # it may be a FIFO
        file = os.fdopen(os.open(root / "lock", flags, 0o666), "wb")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(
                f"Another Peitho serves from {root}: stop it first, or set another dataDir (and "
                "another peitho.instance)"
            ) from error
        except OSError as error:  # a file system without locks
            log.warning("data directory not locked", path=str(root), cause=str(error))
        yield
