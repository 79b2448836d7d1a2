"""Work that goes on beside the requests; every piece has this owner."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

log = structlog.get_logger()


class Tasks:
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

    def cancel(self) -> None:
        """End all that still runs."""
        for task in list(self._tasks):
            task.cancel()


async def _guarded(work: Coroutine[Any, Any, object], name: str) -> None:
    try:
        await work
    except Exception:
        log.exception("background task failed", task=name)
