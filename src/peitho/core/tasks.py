"""Background tasks, each with an owner."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import structlog

from peitho.clients.retries import Again, RetryPolicy, Tries
from peitho.errors import PeithoError

T = TypeVar("T")
log = structlog.get_logger()

_AGAIN_SECONDS = 5.0
_LONGEST_SECONDS = 20.0


class BackgroundTasks:
    """Starts named tasks in a group, and cancels at the end those that still run."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        """Run a task that the program needs: if it fails, the program ends."""
        task = self._group.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def spawn(self, work: Coroutine[Any, Any, object], *, name: str) -> asyncio.Task[None]:
        """Run a task that the program can do without: if it fails, that is logged."""
        task = self.run(_guarded(work, name), name=name)
        # A task that is cancelled before its first step never awaits its coroutine.
        task.add_done_callback(lambda _: work.close())
        return task

    def finish(self, work: Coroutine[Any, Any, object], *, name: str) -> asyncio.Task[None]:
        """Run a task to its end, even while the program ends."""
        return self._group.create_task(_guarded(work, name), name=name)

    def tidy(self, work: Coroutine[Any, Any, object], *, name: str) -> bool:
        """Run a task as `finish` does; False if the program has ended: its next start tidies up."""
        guarded = _guarded(work, name)
        try:
            self._group.create_task(guarded, name=name)
        except RuntimeError:  # the group has come to its end
            guarded.close()
            work.close()
            return False
        return True

    def cancel(self) -> None:
        """Cancel all tasks that still run, except those of `finish`."""
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
    Do something once, and try again while an error passes; by default all errors do.

    The pauses grow.
    Raises the first error that does not pass.
    """

    async def attempt() -> T:
        try:
            return await work()
        except PeithoError as error:
            if not passes(error):
                raise
            log.warning("not done yet", what=what, cause=str(error))
            raise Again(error) from error

    policy = RetryPolicy(None, pause_seconds, _LONGEST_SECONDS, jitter_seconds=0.0)
    return await Tries(policy).run(attempt)


async def to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Wait for something to its end, even if the caller is cancelled."""
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
