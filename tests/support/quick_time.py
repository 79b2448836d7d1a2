"""
The clock of the unit tests: while nothing happens, it is at once as late as somebody waits for.

A pause of ours is then as long as it says, and takes no time.  Threads and sockets are real: while
a thread works, so is the time, and what is on its way through a socket has a moment to come.
"""

import asyncio
import selectors
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# The share of a wait that is real, and the longest.
_REAL_SHARE = 1 / 500
_REAL_SECONDS = 0.002


class QuickSelector(selectors.DefaultSelector):
    """Waits for a share of the time that it is given, and counts the rest as gone by."""

    def __init__(self) -> None:
        super().__init__()
        self.skipped_seconds = 0.0
        self.threads_at_work = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready; nothing, if the time is over."""
        if not timeout or timeout < 0 or self.threads_at_work:
            return super().select(timeout)
        real_seconds = min(timeout * _REAL_SHARE, _REAL_SECONDS)
        ready = super().select(real_seconds)
        if not ready:
            self.skipped_seconds += timeout - real_seconds
        return ready


class QuickLoop(asyncio.SelectorEventLoop):
    """An event loop with such a clock."""

    def __init__(self) -> None:
        self._quick = QuickSelector()
        super().__init__(self._quick)

    def time(self) -> float:
        """Seconds of a clock that goes forward only."""
        return super().time() + self._quick.skipped_seconds

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """As every loop does; the time is the real one until the work is done."""
        future = super().run_in_executor(executor, func, *args)
        self._quick.threads_at_work += 1
        future.add_done_callback(self._done)
        return future

    def _done(self, _: asyncio.Future[T]) -> None:
        self._quick.threads_at_work -= 1
