"""Waiting for a Pod: until a container runs, or until it is known why it does not."""

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from peitho.clients.kubernetes.api import Kubernetes, KubernetesError, Manifest
from peitho.clients.kubernetes.pod_watch import PodWatch, Sighting
from peitho.errors import StartFailed
from peitho.formats.kubernetes import pod_status, records
from peitho.formats.kubernetes.pod_status import SIGKILLED, Exit, StartObstacle

T = TypeVar("T")

# A pull that fails is tried again by the kubelet; it is taken for an answer the third time.
_SIGHTINGS = 3
# How long a Job may take to make its Pod before we ask what keeps it.
_POD_SECONDS = 1.0
_LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Started:
    """The process runs, or has already ended."""


async def until_started(watch: PodWatch, key: str, container: str, *, seconds: float) -> None:
    """
    Return once the container's process runs, or ran.

    Raises StartFailed with the cluster's words: at once for what no retry mends, after a few
    sightings of a failed pull, after `seconds` for a Pod that is not scheduled.
    """
    patience = _Patience(container)
    try:
        async with asyncio.timeout(seconds):
            outcome = await watch.until(key, patience.look)
    except TimeoutError:
        cause = patience.last or StartObstacle("Timeout", "the cluster gave no reason", final=True)
        raise StartFailed(f"not started within {seconds:g} s: {cause}") from None
    if isinstance(outcome, StartObstacle):
        raise StartFailed(str(outcome))


async def until_ended(watch: PodWatch, key: str, container: str) -> Exit:
    """How the container ended; a Pod that vanished is taken for killed."""
    return await watch.until(key, lambda sighting: end_of(sighting, container))


def end_of(sighting: Sighting, container: str) -> Exit | None:
    """How a container ended, or None while it may still run or come."""
    end = pod_status.ended(sighting.pod, container) if sighting.pod else None
    if end is None and sighting.gone:
        return Exit(SIGKILLED, "the Pod was deleted")
    return end


async def explain_no_pod(kubernetes: Kubernetes, watch: PodWatch, key: str, job: Manifest) -> None:
    """
    Return if a Job's Pod comes soon; otherwise ask why not, for as long as it takes.

    The Pod is offered to the API server as a dry run, which answers at once with the words of the
    quota, of Pod Security or of a webhook; the Job's own events would come late.
    Raises StartFailed.
    """
    while True:
        try:
            async with asyncio.timeout(_POD_SECONDS):
                await watch.until(key, lambda sighting: bool(sighting.pod) or None)
                return
        except TimeoutError:
            await _offer(kubernetes, job, key)


async def until_none(kubernetes: Kubernetes, labels: Mapping[str, str]) -> Exit:
    """
    Return once the API server has no such Pod, and a watch has had time to tell how it ended.

    For a Pod that a watch has not told of, or which is silent at the moment.
    """
    while True:
        is_there = await kubernetes.find("Pod", labels=labels)
        await asyncio.sleep(_LOOK_SECONDS)
        if not is_there:
            return Exit(SIGKILLED, "the Pod was deleted")


async def _offer(kubernetes: Kubernetes, job: Manifest, key: str) -> None:
    template = job["spec"]["template"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": template["metadata"] | {"generateName": f"{job['metadata']['name']}-"},
        "spec": template["spec"],
    }
    try:
        await kubernetes.create(pod, dry_run=True)
    except KubernetesError as error:
        # The Pod itself may have taken the last of a quota, and the watch be silent.
        if not await kubernetes.find("Pod", labels={records.CONTAINER: key}):
            raise StartFailed(str(error)) from error


async def first(*contenders: Coroutine[Any, Any, T]) -> T:
    """What the coroutine that ends first gives or raises; the others are cancelled."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in contenders]
            done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
    except ExceptionGroup as raised:
        raise raised.exceptions[0] from raised
    return next(task for task in tasks if task in done).result()


class _Patience:
    """Counts how often a container was seen to be kept from starting, and by what."""

    def __init__(self, container: str) -> None:
        self._container = container
        self._sightings = 0
        self._version = ""
        self.last: StartObstacle | None = None

    def look(self, sighting: Sighting) -> Started | StartObstacle | None:
        pod = sighting.pod
        if pod is None:
            return None
        if pod_status.running(pod, self._container):
            return Started()
        trouble = pod_status.start_obstacle(pod, self._container)
        if trouble and (trouble.final or self._enough(trouble, pod)):
            return trouble
        if end := end_of(sighting, self._container):
            # With a start time the process was there; without, the Pod failed before it.
            ran = pod_status.started_at(pod, self._container)
            return Started() if ran else StartObstacle("the Pod failed", end.reason, final=True)
        return None

    def _enough(self, trouble: StartObstacle, pod: Manifest) -> bool:
        version = pod["metadata"]["resourceVersion"]
        if version != self._version:
            self._version = version
            self._sightings += trouble.reason != "Unschedulable"
        self.last = trouble
        return self._sightings >= _SIGHTINGS and trouble.reason != "Unschedulable"
