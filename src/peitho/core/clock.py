"""The time of day, as Docker and Kubernetes write it, and pauses between looks."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime


def now() -> str:
    """Return the time: RFC 3339 in UTC with microseconds, `2026-01-02T03:04:05.678901Z`."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class SteadyClock:
    """
    Unix time that goes on evenly from when it was first read.

    The machine's clock may be set, by hours or by years; then nothing is older for that.
    """

    def __init__(self) -> None:
        self._began = time.time()
        self._at = time.monotonic()

    def now(self) -> float:
        """Return the seconds, as if the clock had never been set."""
        return self._began + (time.monotonic() - self._at)

    def earliest(self) -> float:
        """Return this or the machine's time, whichever makes others' times look younger."""
        return min(self.now(), time.time())


def growing_pauses(first_seconds: float, longest_seconds: float) -> Iterator[float]:
    """Yield pauses for ever, each twice as long as the one before, up to the longest."""
    seconds = first_seconds
    while True:
        yield seconds
        seconds = min(2 * seconds, longest_seconds)


def unix_seconds(moment: str) -> float:
    """Turn an RFC 3339 time into Unix seconds. Raises ValueError."""
    return datetime.fromisoformat(moment).timestamp()
