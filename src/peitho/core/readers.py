"""Readers of an output, so that its end can wait for them."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Readers:
    """Counts the readers of one container's output."""

    def __init__(self) -> None:
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()

    @property
    def are_none(self) -> bool:
        """Whether nobody reads."""
        return self._count == 0

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Count the caller among the readers."""
        self._count += 1
        self._none.clear()
        try:
            yield
        finally:
            self._count -= 1
            if self.are_none:
                self._none.set()

    async def drained(self, seconds: float) -> None:
        """
        Wait until nobody reads any more, but for `seconds` at most.

        A stuck peer must not hold up others.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._none.wait()
