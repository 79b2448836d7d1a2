"""A queue for builds: a limited number runs at once, and the peers take turns."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from peitho import metrics
from peitho.settings.live import Live


class FairQueue:
    """
    Lets `most` builds run at once; 0 is no limit.

    The next turn goes to the waiting peer that has the fewest builds running, and among such peers
    to the one that has waited longest. So a peer that sends fifty builds does not keep another's
    single one waiting for long.

    If `most` grows, waiting builds go on at once; if it shrinks, running builds go on to their end.
    """

    def __init__(self, most: Live[int]) -> None:
        self._most = most
        self._working: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @property
    def most(self) -> int:
        """How many may work at once."""
        return self._most.now

    @property
    def working(self) -> int:
        """How many builds run now."""
        return self._working.total()

    @property
    def are_taken(self) -> bool:
        """Whether the next build has to wait."""
        return bool(self.most) and self.working >= self.most

    @property
    def cause(self) -> str:
        """Why the next build has to wait, or an empty text."""
        if not self.are_taken:
            return ""
        return f"as many builds are running as builder.maxParallel allows, {self.most}"

    @asynccontextmanager
    async def turn(self, peer: str) -> AsyncIterator[None]:
        """Wait for a turn, and hold it."""
        if self.are_taken:
            await self._wait(peer)
        else:
            self._working[peer] += 1
        try:
            yield
        finally:
            self._pass_on(peer)

    async def _wait(self, peer: str) -> None:
        ours: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(peer, deque()).append(ours)
        try:
            with self._most.listening(self._fill), metrics.BUILDS_WAITING.track_inprogress():
                await ours
        except asyncio.CancelledError:
            if ours.done() and not ours.cancelled():
                self._pass_on(peer)  # it had come, and nobody is there to take it
            elif ours in (line := self._waiting.get(peer, deque())):
                line.remove(ours)
            raise

    def _pass_on(self, peer: str) -> None:
        self._working[peer] -= 1
        if not self._working[peer]:
            del self._working[peer]
        if peer in self._waiting:
            self._waiting[peer] = self._waiting.pop(peer)
        self._fill()

    def _fill(self) -> None:
        while not self.are_taken and (following := self._next()):
            self._working[following] += 1

    def _next(self) -> str:
        """Wake the build whose turn it is; return its peer, or an empty name if none waits."""
        for peer in sorted(self._waiting, key=lambda waiting: self._working[waiting]):
            line = self._waiting[peer]
            while line:
                first = line.popleft()
                if not first.done():  # else it was cancelled, and has not woken to leave
                    # Behind the peers that wait with as many at work.
                    self._waiting[peer] = self._waiting.pop(peer)
                    first.set_result(None)
                    return peer
            del self._waiting[peer]
        return ""


class TenantQueue:
    """
    A queue for the builds of one tenant: its peers take turns, and so do all tenants.

    So a tenant whose peers send fifty builds does not keep another's single one waiting for long.
    """

    def __init__(self, own: FairQueue, everybody: FairQueue, *, tenant: str) -> None:
        self._own = own
        self._everybody = everybody
        self._tenant = tenant

    @property
    def cause(self) -> str:
        """Why the next build has to wait, or an empty text."""
        if self._own.are_taken or self._everybody.are_taken:
            return "as many builds are running as are allowed at once"
        return ""

    @asynccontextmanager
    async def turn(self, peer: str) -> AsyncIterator[None]:
        """Wait for a turn, and hold it."""
        async with self._own.turn(peer), self._everybody.turn(self._tenant):
            yield
