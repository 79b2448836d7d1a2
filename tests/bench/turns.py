"""
`peitho` with a clock on its event loop: `python -m tests.bench.turns FILE serve ...`.

FILE gets a line whenever a turn is longer than all before it: seconds since the start, the most
seconds and the most CPU seconds of a turn so far.  A turn is all that the loop does between two
looks at its sockets: for so long nothing else is answered.  On a machine that others use, too, the
CPU seconds are what is the loop's own.
"""

import selectors
import sys
import time
from pathlib import Path
from typing import Any

from peitho.cli import main

_BEGAN = time.monotonic()


class TimedSelector(selectors.DefaultSelector):
    """The selector of the loop, which knows when a turn begins and ends."""

    file = Path()

    def __init__(self) -> None:
        super().__init__()
        self._woken: tuple[float, float] | None = None
        self._longest_seconds = self._longest_cpu_seconds = 0.0

    def select(self, timeout: float | None = None) -> Any:
        """What the loop asks for between two turns."""
        if self._woken:
            self._note(time.monotonic() - self._woken[0], time.thread_time() - self._woken[1])
        found = super().select(timeout)
        self._woken = time.monotonic(), time.thread_time()
        return found

    def _note(self, seconds: float, cpu_seconds: float) -> None:
        if not self.file.exists():  # whoever reads it takes it away, to begin anew
            self._longest_seconds = self._longest_cpu_seconds = 0.0
        if seconds > self._longest_seconds or cpu_seconds > self._longest_cpu_seconds:
            self._longest_seconds = max(seconds, self._longest_seconds)
            self._longest_cpu_seconds = max(cpu_seconds, self._longest_cpu_seconds)
            longest = f"{self._longest_seconds:.4f} {self._longest_cpu_seconds:.4f}"
            with self.file.open("a") as file:
                file.write(f"{time.monotonic() - _BEGAN:.3f} {longest}\n")


if __name__ == "__main__":
    TimedSelector.file = Path(sys.argv.pop(1))
    setattr(selectors, "DefaultSelector", TimedSelector)  # noqa: B010  asyncio takes it from there
    main()
