"""How long a launch waits for what keeps its Pod from running, before that is the answer."""

import asyncio
from dataclasses import dataclass

from peitho.errors import StartFailed
from peitho.formats.kubernetes.pod_status import StartObstacle

# The kubelet tries a failed pull again; the third failure counts as the answer.
_FAILED_PULLS = 3


@dataclass(frozen=True, slots=True)
class _Heard:
    """An obstacle, and until when it may stand, by the loop's clock; None is without end."""

    obstacle: StartObstacle
    until: float | None


class Patience:
    """
    What one launch has heard of its obstacles; the latest is remembered, to be told in the end.

    There are two sources: the Pod's status, and what the cluster says when it is asked. An obstacle
    raises StartFailed once it is the answer: at once if no retry mends it, after some failed pulls,
    or when it has stood for as long as it may.
    """

    def __init__(self) -> None:
        self._seen: _Heard | None = None
        self._told: _Heard | None = None
        self._failed_pulls: set[str] = set()

    @property
    def last(self) -> StartObstacle | None:
        """What keeps the Pod back, as far as is known."""
        heard = self._told if self.needs_cause and self._told else self._seen or self._told
        return heard.obstacle if heard else None

    @property
    def needs_cause(self) -> bool:
        """Whether the Pod's own status does not say what keeps it back."""
        return self._seen is None or self._seen.obstacle.is_pause

    def see(self, obstacle: StartObstacle | None, *, version: str) -> None:
        """Take what the status of a Pod shows; `version` tells one status from the next."""
        before = self._seen
        self._seen = _heard(obstacle, before)
        if obstacle is None or not obstacle.failed_pull:
            return
        if obstacle.is_pause and before and before.obstacle.failed_pull:
            self._seen = before
        self._failed_pulls.add(version)
        if len(self._failed_pulls) >= _FAILED_PULLS:
            raise StartFailed(str(self.last))

    def be_told(self, obstacle: StartObstacle | None) -> None:
        """Take what the cluster answered when it was asked."""
        self._told = _heard(obstacle, self._told)

    async def pause(self, seconds: float) -> None:
        """Wait; raise StartFailed if what was told stands for too long meanwhile."""
        await _stand(self._told, seconds)

    async def stand(self) -> None:
        """Wait for ever; raise StartFailed once what was seen has stood for too long."""
        await _stand(self._seen, None)


async def _stand(heard: _Heard | None, seconds: float | None) -> None:
    loop = asyncio.get_running_loop()
    end = None if seconds is None else loop.time() + seconds
    until = heard.until if heard else None
    if heard and until is not None and (end is None or until <= end):
        await asyncio.sleep(until - loop.time())
        raise StartFailed(str(heard.obstacle))
    if seconds is None:
        await asyncio.Event().wait()
    else:
        await asyncio.sleep(seconds)


def _heard(obstacle: StartObstacle | None, before: _Heard | None) -> _Heard | None:
    if obstacle is None:
        return None
    if obstacle.final:
        raise StartFailed(str(obstacle))
    if obstacle.patience_seconds is None:
        return _Heard(obstacle, None)
    latest = asyncio.get_running_loop().time() + obstacle.patience_seconds
    if before and before.until is not None:
        latest = min(latest, before.until)
    return _Heard(obstacle, latest)
