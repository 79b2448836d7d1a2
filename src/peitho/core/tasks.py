"""Work that goes on beside the requests; every piece has this owner."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import structlog

from peitho.clients.retries import Again, RetryPolicy, Tries
from peitho.errors import PeithoError

T = TypeVar("T")
log = structlog.get_logger()

_AGAIN_SECONDS = 5.0


class BackgroundTasks:
    """Starts named tasks in a group, and cancels those that are left at the end."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        """Run what the program cannot do without: if it fails, the program ends."""
        task = self._group.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def spawn(self, work: Coroutine[Any, Any, object], *, name: str) -> asyncio.Task[None]:
        """Run one job among many: if it fails, that is logged, and the others go on."""
        task = self.run(_guarded(work, name), name=name)
        # Cancelled before its first step, a task never comes to its work.
        task.add_done_callback(lambda _: work.close())
        return task

    def finish(self, work: Coroutine[Any, Any, object], *, name: str) -> asyncio.Task[None]:
        """Run what is done to its end, also while the program ends; it has an end of its own."""
        return self._group.create_task(_guarded(work, name), name=name)

    def cancel(self) -> None:
        """End all that still runs."""
        for task in list(self._tasks):
            task.cancel()


async def until_done(
    work: Callable[[], Awaitable[T]],
    *,
    what: str,
    pause_seconds: float = _AGAIN_SECONDS,
    passes: Callable[[PeithoError], bool] = lambda _: True,
) -> T:
    """
    Do something once, as soon as whoever is needed for it can be reached.

    Raises the first error that does not pass; by default there is none.
    """

    async def attempt() -> T:
        try:
            return await work()
        except PeithoError as error:
            if not passes(error):
                raise
            log.warning("not done yet", what=what, cause=str(error))
            raise Again(error) from error

    return await Tries(RetryPolicy.steady(pause_seconds)).run(attempt)


async def to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Return once something is done, also if the caller is cancelled, before or meanwhile."""
    over = asyncio.Event()
    try:
        await asyncio.shield(_telling(over, work))
    except asyncio.CancelledError:
        await over.wait()
        raise


async def _telling(over: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    finally:
        over.set()


async def _guarded(work: Coroutine[Any, Any, object], name: str) -> None:
    try:
        await work
    except Exception:
        log.exception("background task failed", task=name)
