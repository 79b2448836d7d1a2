"""
The first moments of a chaincode's process: did it end before its peer could know it?

Peers go on at the chaincode's REGISTER and not at the answer to `start`, and of `wait` they show
only the exit code (Fabric 2.5.16, core/chaincode/runtime_launcher.go). So a process that ends at
once fails its start, with its last lines; one that may have registered has been started, whatever
became of it, and so has one that its peer stops (docs/decisions/0018-failed-starts.md).
"""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime

from peitho.core.chaincode.process import ChaincodeProcess
from peitho.core.pods import waiting
from peitho.errors import StartFailed
from peitho.formats.records import CHAINCODE, Exit

_SHOWN_LINES = 20
# How Go tells where a process panicked: this handler is at work in a call of chaincode, and once it
# has registered (fabric-chaincode-go, shim/handler.go; Fabric 1.x: core/chaincode/shim).
_IN_A_CALL = re.compile(r"/shim\.\(\*Handler\)\.handle")
# The kubelet tells in whole seconds when a process began and ended: if they are not the same, it
# may have registered.  It looks once a second, so what it shows for as long proves nothing.
_TOLD_SECONDS = 1.0
_SEEN_SECONDS = 1.25
# A start is told in the moment, an end at the kubelet's next look.
_LATE_SECONDS = 1.0


class Settling:
    """Watches processes that are being started, or were a moment ago."""

    def __init__(self) -> None:
        self._stopped: dict[str, set[asyncio.Event]] = {}

    @contextmanager
    def starting(self, process: ChaincodeProcess) -> Iterator[asyncio.Event]:
        """Note that a process is being started; the event is set if it is stopped meanwhile."""
        stopped = asyncio.Event()
        events = self._stopped.setdefault(process.key, set())
        events.add(stopped)
        try:
            yield stopped
        finally:
            events.discard(stopped)
            if not events:
                self._stopped.pop(process.key, None)

    async def watch(self, process: ChaincodeProcess, *, seconds: float) -> None:
        """
        Return once a process has run for `seconds`, or was stopped.

        Raises StartFailed if it ended before it can have registered.
        """
        if not seconds:
            return
        with self.starting(process) as stopped, suppress(TimeoutError):
            async with asyncio.timeout(seconds + _LATE_SECONDS):
                await waiting.first(_until_known(process), _until(stopped))

    def stop(self, process: ChaincodeProcess) -> None:
        """Note that the peer stops this process, so that its end is no failed start."""
        for stopped in self._stopped.get(process.key, ()):
            stopped.set()


async def _until(event: asyncio.Event) -> None:
    await event.wait()


async def _until_known(process: ChaincodeProcess) -> None:
    """Return once a process has ended that may have registered; StartFailed if it may not."""
    loop = asyncio.get_running_loop()
    seen_running: float | None = None
    async for sighting in process.watch.sightings(process.key):
        if end := waiting.exit_of(sighting, CHAINCODE):
            ran_seconds = 0.0 if seen_running is None else loop.time() - seen_running
            began = sighting.pod.started_at(CHAINCODE) if sighting.pod else ""
            is_short = ran_seconds < _SEEN_SECONDS and _told_seconds(began, end) < _TOLD_SECONDS
            if is_short and end.code and not _IN_A_CALL.search(end.log):
                raise StartFailed(_ended_at_once(end))
            return
        if seen_running is None and sighting.pod and sighting.pod.is_running(CHAINCODE):
            seen_running = loop.time()


def _told_seconds(began: str, end: Exit) -> float:
    """How long a process ran by the kubelet's word, which is in whole seconds."""
    try:
        ran = datetime.fromisoformat(end.finished_at) - datetime.fromisoformat(began)
        return ran.total_seconds()
    except (ValueError, TypeError):
        return 0.0


def _ended_at_once(end: Exit) -> str:
    """Return one line: the exit code in Docker's words, the cluster's reason, the last lines."""
    reason = f" ({end.reason})" if end.reason else ""
    lines = [line.strip() for line in end.log.splitlines() if line.strip()]
    said = f"; its last lines: {' | '.join(lines[-_SHOWN_LINES:])}" if lines else ""
    return f"container exited with {end.code}{reason} at its start{said}"
