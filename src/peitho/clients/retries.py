"""
What is tried again, and how: one policy for whatever may be otherwise the next time.

stamina tries and pauses.  How long the pauses are is said here, since a server may ask for one, and
a step forward has the tries counted anew: stamina's own backoff knows of neither
(docs/decisions/0008-dependencies.md).
"""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self, TypeVar

import stamina
from stamina.instrumentation import set_on_retry_hooks

from peitho.errors import PeithoError, Unavailable
from peitho.formats import retry_after

T = TypeVar("T")

# Too many requests, and the server's own trouble.
PASSING = frozenset({429, 500, 502, 503, 504})
# Pauses have long reached their longest by then.
_MOST_DOUBLINGS = 32

# Without limits of its own: a policy has them.
_CALLER = stamina.AsyncRetryingCaller(attempts=None, timeout=None)
# Nothing is logged or counted but by whoever tries again, and in its own words.
set_on_retry_hooks(())


class Refused(PeithoError):  # noqa: N818  named as the kinds in errors.py are
    """A server said no; `code` is its HTTP status."""

    def __init__(self, message: str, *, code: int) -> None:
        super().__init__(message)
        self.code = code


class Again(Exception):  # noqa: N818  not an error yet
    """
    What may succeed if it is tried again.

    `reason` is the error if it does not, `after_seconds` the pause that the server asks for.
    """

    def __init__(self, reason: PeithoError, *, after_seconds: float = 0.0) -> None:
        super().__init__(str(reason))
        self.reason = reason
        self.after_seconds = after_seconds


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """
    How often something is tried, and how long the pauses between are.

    Pauses double from the first to the longest, and the jitter is the most that chance adds: not
    all who wait come back at once.  Without a number of attempts there is no end.
    """

    attempts: int | None = 5
    first_seconds: float = 0.5
    longest_seconds: float = 30.0
    jitter_seconds: float = 0.5

    @classmethod
    def steady(cls, pause_seconds: float) -> Self:
        """The same pause each time, for ever."""
        return cls(None, pause_seconds, pause_seconds, jitter_seconds=0.0)

    def pause_seconds(self, failed: int, again: Again) -> float | None:
        """
        Seconds to wait after that many attempts; None if there is to be no other.

        It is what the server asks for, or our own pause where that is longer; one that asks for
        more than the longest is not asked again.
        """
        is_last = self.attempts is not None and failed >= self.attempts
        if is_last or again.after_seconds > self.longest_seconds:
            return None
        own = self.first_seconds * 2.0 ** min(failed - 1, _MOST_DOUBLINGS)
        jitter = random.uniform(0, self.jitter_seconds)  # noqa: S311  no secret
        return min(max(own, again.after_seconds), self.longest_seconds) + jitter


class Tries:
    """The tries of one thing, by a policy."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self.failed = 0

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """
        What the work gives, tried for as long as it raises Again and the policy allows it.

        Raises the reason of the last Again; every other error at once.
        """
        try:
            return await _CALLER(self._pause, work)
        except Again as again:
            raise again.reason from again

    def renew(self) -> None:
        """Count anew: the work came further than before."""
        self.failed = 0

    def _pause(self, error: Exception) -> float | bool:
        """For stamina: seconds until the next try, or False."""
        if not isinstance(error, Again):
            return False
        self.failed += 1
        pause = self._policy.pause_seconds(self.failed, error)
        return False if pause is None else pause


def asked_seconds(header: str) -> float:
    """The pause that a server's `Retry-After` asks for; 0 if it asks for none."""
    return retry_after.seconds(header, now=datetime.now(UTC))


def is_passing(error: PeithoError) -> bool:
    """Whether what is out of reach, too busy or in trouble may be well the next time."""
    if isinstance(error, Refused):
        return error.code in PASSING
    return isinstance(error, Unavailable)
