"""A launch: the Job of a chaincode container is made, and watched until its process runs."""

import asyncio
import time
from dataclasses import dataclass

import structlog

from peitho import metrics
from peitho.clients.kubernetes.api import Kubernetes
from peitho.clients.kubernetes.pod_watch import PodWatch
from peitho.core.pods import waiting
from peitho.core.tasks import BackgroundTasks
from peitho.errors import PeithoError, StartFailed
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.records import CHAINCODE

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Launch:
    """
    One launch; `key` is the label by which the Pod of the Job is known.

    `began` is when the peer asked for it, by the monotonic clock.
    """

    kubernetes: Kubernetes
    watch: PodWatch
    tasks: BackgroundTasks
    job: Manifest
    key: str
    began: float

    async def carry_out(self, *, timeout_seconds: float) -> float:
        """
        Make the Job, and return once its process runs: the seconds that the launch took.

        A launch that fails leaves no Job.

        Raises StartFailed with the cluster's words, KubernetesError where the Job is not made.
        """
        await self.kubernetes.create(self.job)
        try:
            await self._until_running(timeout_seconds)
        except BaseException:
            # Whoever breaks the start off, and were it the end of Peitho, waits for this.
            withdrawing = self.tasks.finish(self._withdraw(), name="withdrawal of a Job")
            await asyncio.shield(withdrawing)
            metrics.START_SECONDS.labels("failed").observe(time.monotonic() - self.began)
            raise
        seconds = time.monotonic() - self.began
        metrics.START_SECONDS.labels("started").observe(seconds)
        return seconds

    async def _until_running(self, timeout_seconds: float) -> None:
        """Wait for what the Pod's status tells, and for what keeps the Pod away."""

        async def explained() -> None:
            await waiting.explain_no_pod(self.kubernetes, self.watch, self.key, self.job)
            await asyncio.Event().wait()

        running = waiting.until_started(self.watch, self.key, CHAINCODE, seconds=timeout_seconds)
        await waiting.first(running, explained())

    async def _withdraw(self) -> None:
        name = self.job["metadata"]["name"]
        try:
            await self.kubernetes.delete("Job", name)
        except PeithoError as error:
            log.warning("job not withdrawn", job=name, cause=str(error))


def failed(name: str, error: StartFailed) -> StartFailed:
    """A failed start, with the name of its container in front of the cluster's words."""
    return StartFailed(f"cannot start container {name}: {error}")
