"""
How long a connection may take for heads, bodies, and the reading of answers.

Whoever sends nothing costs a connection, and whoever sends slowly costs memory or disk as well.
What a peer waits for is never cut: a `wait` or a followed log sends nothing for weeks.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp.streams import StreamReader

from peitho.errors import TooSlow

# Until the first byte: a Go client may connect ahead, and keeps what it does not need for a while.
CONNECTED_SECONDS = 60.0
# From its first byte: a head comes in one segment or two.
HEAD_SECONDS = 10.0
# A peer's heads have less than 1 KiB.
HEAD_BYTES = 64 * 1024
# Of an answer that waits to be read, so much goes in this time: as slow as a body may be.
READ_SECONDS = 60.0
READ_BYTES = 16 * 1024
_LOOK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class BodyPace:
    """
    How slowly a body may come, counted from its first byte.

    It may be silent for `silent_seconds`; and each `window_seconds` bring `window_bytes` at least.
    """

    silent_seconds: float
    window_seconds: float
    window_bytes: int


# A quarter of a KiB a second: no network that a peer can live in is slower.
BODY = BodyPace(silent_seconds=60.0, window_seconds=60.0, window_bytes=16 * 1024)


class PacedBody:
    """Looks after a body that is on its way, and ends it once it is too slow."""

    def __init__(
        self,
        body: StreamReader,
        pace: BodyPace,
        *,
        is_taken: Callable[[], bool],
        ended: Callable[[], None],
    ) -> None:
        self._body = body
        self._pace = pace
        self._is_taken = is_taken
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._bytes = 0
        self._last = self._window = self._loop.time()
        self._window_bytes = 0
        self._timer = self._loop.call_later(_LOOK_SECONDS, self._look)

    def close(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def _look(self) -> None:
        if self._body.is_eof() or self._body.exception():
            return
        now, received = self._loop.time(), self._body.total_bytes
        if not received or not self._is_taken():  # not begun, or it waits for us
            self._last = self._window = now
            self._window_bytes = received
        if received != self._bytes:
            self._bytes, self._last = received, now
        if cause := self._cause(now, received):
            self._body.set_exception(TooSlow(cause))
            self._ended()
            return
        self._timer = self._loop.call_later(_LOOK_SECONDS, self._look)

    def _cause(self, now: float, received: int) -> str:
        """Say why the body is too slow, or return an empty text."""
        pace = self._pace
        if now - self._last >= pace.silent_seconds:
            return f"the body stopped coming: nothing for {pace.silent_seconds:.0f} s"
        if now - self._window < pace.window_seconds:
            return ""
        came = received - self._window_bytes
        if came < pace.window_bytes:
            return f"the body comes too slowly: {came} bytes in {pace.window_seconds:.0f} s"
        self._window, self._window_bytes = now, received
        return ""
