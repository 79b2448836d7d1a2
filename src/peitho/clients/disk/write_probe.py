"""Whether the data directory can be written: tried seldom, and never in the event loop."""

import asyncio
import time

from peitho.clients.disk.storage import Storage
from peitho.errors import PeithoError

_PAUSE_SECONDS = 10.0
# The kubelet waits for a second.
_WAIT_SECONDS = 0.5
# A disk that is busy with a large layer takes its time.
_PATIENCE_SECONDS = 15.0


class WriteProbe:
    """Tries the data directory once in a while; whoever asks meanwhile shares the answer."""

    def __init__(
        self,
        storage: Storage,
        *,
        pause_seconds: float = _PAUSE_SECONDS,
        wait_seconds: float = _WAIT_SECONDS,
        patience_seconds: float = _PATIENCE_SECONDS,
    ) -> None:
        self._storage = storage
        self._pause_seconds = pause_seconds
        self._wait_seconds = wait_seconds
        self._patience_seconds = patience_seconds
        self._trial: asyncio.Future[str] | None = None
        self._began = 0.0
        # A start has written before anybody asks.
        self._known = ""

    async def cause(self) -> str:
        """
        Return why the data directory cannot be written, or an empty text.

        While a trial takes long, the answer of the one before counts, up to a limit.
        """
        if self._trial is None or (self._trial.done() and self._age() >= self._pause_seconds):
            self._began = time.monotonic()
            self._trial = asyncio.get_running_loop().run_in_executor(None, self._try)
        await asyncio.wait({self._trial}, timeout=self._wait_seconds)
        if self._trial.done():
            self._known = self._trial.result()
        elif self._age() > self._patience_seconds:
            return "The data directory does not answer: see to its volume"
        return self._known

    def _age(self) -> float:
        return time.monotonic() - self._began

    def _try(self) -> str:
        try:
            self._storage.try_writing()
        except (PeithoError, OSError) as error:
            return str(error)
        return ""
