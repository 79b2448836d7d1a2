"""A launch: create the Job of a chaincode container, and wait until its process runs."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass

import structlog

from peitho import metrics
from peitho.clients.kubernetes.api import Kubernetes
from peitho.clients.kubernetes.pod_watch import PodWatch
from peitho.core.chaincode.phases import LaunchPhases
from peitho.core.pods import user_namespaces, waiting
from peitho.core.pods.explaining import Asked
from peitho.core.tasks import BackgroundTasks, to_its_end
from peitho.errors import PeithoError, StartFailed
from peitho.formats.kubernetes import labels
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.records import CHAINCODE

log = structlog.get_logger()

# A Pod that is still there may take the room of the next, where there is a quota.
_GONE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Launch:
    """
    One launch.

    `key` is the label by which the Job's Pod is known; `began` is when the peer asked, by the
    monotonic clock.
    """

    kubernetes: Kubernetes
    watch: PodWatch
    tasks: BackgroundTasks
    job: Manifest
    key: str
    began: float

    async def carry_out(self, *, timeout_seconds: float) -> float:
        """
        Create the Job, and return once its process runs: the seconds that the launch took.

        A failed launch leaves no Job. Raises StartFailed with the cluster's words, KubernetesError
        if the Job cannot be created. BegunAlone leaves it: another Job may do better.
        """
        is_created = False
        job = await user_namespaces.suited(self.kubernetes, self.job)
        phases = LaunchPhases(self.began)

        async def create() -> None:
            nonlocal is_created
            await self.kubernetes.create(job)
            is_created = True

        try:
            # If the peer hung up meanwhile, nobody would know whether there is a Job.
            await to_its_end(create())
            phases.end("created")
            await self._until_running(job, timeout_seconds, phases)
        except BaseException as error:
            if not is_created or isinstance(error, waiting.BegunAlone):
                raise
            # Even a cancelled start, or the end of Peitho, waits until the Job is deleted.
            await self.withdraw()
            metrics.START_SECONDS.labels("failed").observe(time.monotonic() - self.began)
            raise
        phases.end("running")
        seconds = time.monotonic() - self.began
        metrics.START_SECONDS.labels("started").observe(seconds)
        return seconds

    async def _until_running(
        self, job: Manifest, timeout_seconds: float, phases: LaunchPhases
    ) -> None:
        """Wait for the Pod's status to show the process, or for what keeps the Pod away."""
        asked = Asked(self.kubernetes, self.watch, self.key, job)
        started = waiting.until_started(
            self.watch, self.key, CHAINCODE, seconds=timeout_seconds, asked=asked
        )
        await waiting.first(started, phases.follow(self.watch, self.key))

    async def make_way(self) -> None:
        """
        Delete the Job, and return once its Pod is gone, so that another one can be.

        Raises StartFailed if it cannot be deleted, though it is tried once more: two Jobs of a
        container have one name.
        """
        try:
            await self.kubernetes.delete("Job", self._name)
        except PeithoError as error:
            await self.withdraw()
            raise StartFailed(
                f"the Job {self._name} began it without its layer, and cannot be deleted to try "
                f"again: {error}"
            ) from error
        with suppress(TimeoutError):
            async with asyncio.timeout(_GONE_SECONDS):
                await waiting.until_none(self.kubernetes, {labels.CONTAINER: self.key})

    async def withdraw(self) -> None:
        """Delete the Job, even if the caller is cancelled or Peitho ends; a refusal is logged."""
        withdrawing = self.tasks.finish(self._withdraw(), name="withdrawal of a Job")
        await asyncio.shield(withdrawing)

    async def _withdraw(self) -> None:
        try:
            await self.kubernetes.delete("Job", self._name)
        except PeithoError as error:
            log.warning("job not withdrawn", job=self._name, cause=str(error))

    @property
    def _name(self) -> str:
        return str(self.job["metadata"]["name"])


def failed(name: str, error: StartFailed) -> StartFailed:
    """Return the error of a failed start, with the container's name before the cluster's words."""
    return StartFailed(f"cannot start container {name}: {error}")
