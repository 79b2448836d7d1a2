"""Whether anybody attends to a build container: its calls, and since when there is none."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Attendance:
    """The open calls of one container."""

    def __init__(self) -> None:
        self._calls = 0
        self._since = asyncio.get_running_loop().time()

    @contextmanager
    def call(self) -> Iterator[None]:
        """Count a call while it lasts."""
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1
            self._since = asyncio.get_running_loop().time()

    @property
    def quiet_seconds(self) -> float:
        """For how long there has been no call; 0 while there is one."""
        return 0.0 if self._calls else asyncio.get_running_loop().time() - self._since
