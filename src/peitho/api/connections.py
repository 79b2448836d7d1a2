"""
How many connections there are, and which have to go.

A connection that waits for a request can be closed at any time: its client makes another.  So the
one that has waited longest goes first, and whoever calls now is let in.
"""

import resource
from typing import Protocol

_MOST_WAITING = 1000
# 5,000 chaincodes have 10,000: a `wait` for each, and its output.
_MOST_AT_WORK = 20_000


class Closing(Protocol):
    """A connection that can be closed."""

    def close(self) -> None:
        """Close it."""
        ...


class Connections:
    """The connections of one listener: those that wait for a request, and those at work."""

    def __init__(self, *, most_waiting: int, most_at_work: int) -> None:
        self._most_waiting = most_waiting
        self._most_at_work = most_at_work
        self._waiting: dict[Closing, None] = {}
        self._at_work: set[Closing] = set()

    @classmethod
    def allowed(cls) -> "Connections":
        """As many as are sensible, and as this process may open files."""
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return cls(
            most_waiting=min(_MOST_WAITING, files // 8), most_at_work=min(_MOST_AT_WORK, files // 2)
        )

    def wait(self, connection: Closing) -> None:
        """Count a connection as one that waits; the one that waited longest may have to go."""
        self._at_work.discard(connection)
        self._waiting[connection] = None
        if len(self._waiting) > self._most_waiting:
            longest = next(iter(self._waiting))
            self.forget(longest)
            longest.close()

    def work(self, connection: Closing) -> bool:
        """Count a connection as one at work; False if there are too many."""
        self._waiting.pop(connection, None)
        self._at_work.add(connection)
        return len(self._at_work) <= self._most_at_work

    def forget(self, connection: Closing) -> None:
        """Count a connection no more: it is closed."""
        self._waiting.pop(connection, None)
        self._at_work.discard(connection)
