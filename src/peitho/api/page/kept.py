"""What takes a while to work out is worked out now and then, however many look."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """A value that is worked out when it is asked for, if the last is older than so long."""

    def __init__(self, work: Callable[[], Awaitable[T]], *, seconds: float) -> None:
        self._work = work
        self._seconds = seconds
        # What is awaited meanwhile is our own disk or loop: neither a peer nor the cluster.
        self._working = asyncio.Lock()
        self._value: tuple[T, float] | None = None

    async def get(self) -> T:
        """Return the value; whatever working it out raises is raised, and is tried again."""
        async with self._working:
            if self._value is None or time.monotonic() - self._value[1] > self._seconds:
                self._value = await self._work(), time.monotonic()
            return self._value[0]
