"""
What Peitho needs outside of itself: the cluster, a registry, a Docker daemon. Do they answer?

That one is away is no reason to take Peitho out of its Service: a peer that asks for its images at
its start gets them from the store. So it is told, and counted, and readiness does not hang on it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from peitho import metrics
from peitho.clients.kubernetes.pod_watch import PodWatch
from peitho.errors import PeithoError

# Whether it answers; raises PeithoError if not.
Probe = Callable[[], Awaitable[None]]

# The API server ends a watch every 20 s; after this it has not been heard for more than one.
STALE_SECONDS = 35.0
_LOOK_SECONDS = 15.0
_ANSWER_SECONDS = 2.0
_CLUSTER = "cluster"


class Surroundings:
    """All that Peitho needs outside of itself, by name; `probes` are of all but the cluster."""

    def __init__(self, watch: PodWatch, probes: Mapping[str, Probe]) -> None:
        self._watch = watch
        self._probes = dict(probes)
        self._last: dict[str, str] = {}

    async def run(self) -> None:
        """Look for ever, for the metrics."""
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_SECONDS)

    @property
    def last(self) -> dict[str, str]:
        """What the last look told, and the watch tells of the cluster now: nobody is asked."""
        return self._last | {_CLUSTER: self._cluster_cause()}

    async def look(self) -> dict[str, str]:
        """Return why each cannot be reached, by its name; an empty text if it can."""
        causes = {_CLUSTER: self._cluster_cause()}
        async with asyncio.TaskGroup() as group:
            asked = {
                name: group.create_task(_cause(probe), name=f"probe of {name}")
                for name, probe in self._probes.items()
            }
        causes |= {name: task.result() for name, task in asked.items()}
        for name, cause in causes.items():
            metrics.REACHABLE.labels(name).set(0 if cause else 1)
        self._last = causes
        return causes

    def _cluster_cause(self) -> str:
        seconds = self._watch.age_seconds
        if seconds <= STALE_SECONDS:
            return ""
        if seconds == float("inf"):
            return "the Kubernetes API has not been heard"
        return f"the Kubernetes API has not been heard for {seconds:.0f} s"


async def _cause(probe: Probe) -> str:
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            await probe()
    except TimeoutError:
        return f"no answer within {_ANSWER_SECONDS:g} s"
    except PeithoError as error:
        return str(error)
    return ""
