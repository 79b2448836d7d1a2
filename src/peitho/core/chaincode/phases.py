"""How long each phase of a launch takes, as the watch of Pods shows it."""

import time

from peitho import metrics
from peitho.clients.kubernetes.pod_watch import PodWatch
from peitho.formats.kubernetes.pod_status import PodStatus
from peitho.formats.records import CHAINCODE


class LaunchPhases:
    """
    Measures one launch; `began` is when the peer asked, by the monotonic clock.

    A phase that is not seen by itself is in the next one: changes that come together are one.
    """

    def __init__(self, began: float) -> None:
        self._since = began
        self._left = list(metrics.LAUNCH_PHASES)

    def end(self, phase: str) -> None:
        """Note that a phase is over; of one that is known to be, nothing is noted."""
        if phase not in self._left:
            return
        del self._left[: self._left.index(phase) + 1]
        now = time.monotonic()
        metrics.LAUNCH_PHASE_SECONDS.labels(phase).observe(now - self._since)
        self._since = now

    async def follow(self, watch: PodWatch, key: str) -> None:
        """Note what the Pod's status shows, for ever."""
        async for sighting in watch.sightings(key):
            if sighting.pod:
                self._see(sighting.pod)

    def _see(self, pod: PodStatus) -> None:
        if pod.is_running(CHAINCODE):  # all at once
            return
        if pod.is_prepared(CHAINCODE):
            self.end("pulled")
        elif pod.node:
            self.end("scheduled")
