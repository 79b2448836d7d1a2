"""The file of the audit trail: appended to and synced, never written over."""

import asyncio
import fcntl
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import structlog

from peitho import metrics
from peitho.errors import StorageUnusable
from peitho.formats.audit_chain import Chain

log = structlog.get_logger()

_STDERR = Path("-")
_AGAIN_SECONDS = 1.0
# What waits while the disk is full; past it the oldest go, and the log says how many.
_WAITING_EVENTS = 10_000
# The last line is within this: an event has a dozen texts, and each a thousand characters.
_TAIL_BYTES = 1024 * 1024


class AuditFile:
    """
    Appends events to a file, or to stderr (`-`).

    The file is opened and locked for each write: it may be moved away at any time, and the chain
    goes on in the next; a sweep by hand adds to the same chain.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._chain = Chain()
        self._waiting: list[Mapping[str, object]] = []
        self._come = asyncio.Event()
        self._turn = asyncio.Lock()

    def check(self) -> None:
        """Raise StorageUnusable if the file cannot be written."""
        try:
            self._append([])
        except OSError as error:
            raise StorageUnusable(
                f"The audit file {self._path} cannot be written: {error.strerror}: see audit.file"
            ) from error

    def keep(self, event: Mapping[str, object]) -> None:
        """Take an event; it is on the disk a moment later."""
        self._waiting.append(event)
        self._come.set()

    async def run(self) -> None:
        """Write what comes, for ever; what cannot be written is tried again."""
        while True:
            await self._come.wait()
            self._come.clear()
            if not await self.write():
                self._come.set()
                await asyncio.sleep(_AGAIN_SECONDS)

    async def write(self) -> bool:
        """Write what waits; False if that failed, which is told."""
        async with self._turn:
            return await self._write()

    async def _write(self) -> bool:
        events, self._waiting = self._waiting, []
        work = asyncio.get_running_loop().run_in_executor(None, self._append, events)
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:  # the next write comes after this one
            await asyncio.wait([work])
            raise
        except OSError as error:
            lost = max(0, len(events) + len(self._waiting) - _WAITING_EVENTS)
            self._waiting = (events + self._waiting)[lost:]
            log.warning("audit not written", file=str(self._path), cause=error.strerror, lost=lost)
            return False
        finally:
            metrics.AUDIT_WAITING.set(len(self._waiting))
        return True

    def _append(self, events: list[Mapping[str, object]]) -> None:
        if self._path == _STDERR:
            sys.stderr.write(b"".join(map(self._chain.add, events)).decode())
            sys.stderr.flush()
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with open(self._path, "a+b", buffering=0, opener=_private) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            size = file.seek(0, os.SEEK_END)
            chain, gap = _end_of(file, size) if size else (self._chain, b"")
            lines = b"".join(chain.add(event) for event in events)
            try:
                file.write(gap + lines)
                os.fdatasync(file.fileno())
            except OSError:
                file.truncate(size)  # what was written of it would come a second time
                raise
            self._chain = chain


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _end_of(file: IO[bytes], size: int) -> tuple[Chain, bytes]:
    """
    Return the end of a file's chain, and what its last line lacks.

    A line that was cut by a crash stays as it is, and is told when the file is verified.
    """
    file.seek(max(0, size - _TAIL_BYTES))
    lines = file.read().split(b"\n")
    chain = next((chain for line in reversed(lines) if (chain := Chain.after(line))), Chain())
    return chain, b"\n" if lines[-1] else b""
