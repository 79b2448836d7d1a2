"""
The first moments of a chaincode's process: if it ends in them, its start fails and says why.

Peers go on at the chaincode's REGISTER and not at the answer to `start`, and of `wait` they show
only the exit code (Fabric 2.5.16, core/chaincode/runtime_launcher.go).
"""

import asyncio
from contextlib import suppress

from peitho.core.chaincode.process import ChaincodeProcess
from peitho.core.pods import waiting
from peitho.errors import StartFailed
from peitho.formats.records import CHAINCODE, Exit

_SHOWN_LINES = 20


class Settling:
    """Watches processes that were just started."""

    def __init__(self) -> None:
        self._stopped: dict[str, asyncio.Event] = {}

    async def watch(self, process: ChaincodeProcess, *, seconds: float) -> None:
        """Return once a process has run for `seconds`, or was stopped; StartFailed if it ended."""
        if not seconds:
            return
        stopped = self._stopped.setdefault(process.key, asyncio.Event())
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await waiting.first(_fail_at_its_end(process), _until(stopped))
        finally:
            self._stopped.pop(process.key, None)

    def stop(self, process: ChaincodeProcess) -> None:
        """Note that the peer stops this process, so that its end is no failed start."""
        if stopped := self._stopped.get(process.key):
            stopped.set()


async def _fail_at_its_end(process: ChaincodeProcess) -> None:
    end = await waiting.until_ended(process.watch, process.key, CHAINCODE)
    raise StartFailed(_ended_at_once(end))


async def _until(event: asyncio.Event) -> None:
    await event.wait()


def _ended_at_once(end: Exit) -> str:
    """Return one line: the exit code in Docker's words, the cluster's reason, the last lines."""
    reason = f" ({end.reason})" if end.reason else ""
    lines = [line.strip() for line in end.log.splitlines() if line.strip()]
    said = f"; its last lines: {' | '.join(lines[-_SHOWN_LINES:])}" if lines else ""
    return f"container exited with {end.code}{reason} at its start{said}"
