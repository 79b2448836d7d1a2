"""Waiting for a Pod: until its container runs or ends, or the cluster says why it cannot run."""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

import structlog

from peitho.clients.kubernetes import statuses
from peitho.clients.kubernetes.api import Kubernetes, KubernetesError
from peitho.clients.kubernetes.pod_watch import PodWatch, Sighting
from peitho.errors import PeithoError, StartFailed
from peitho.formats.kubernetes import labels
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.kubernetes.pod_status import NODE_LOST, PodStatus, StartObstacle
from peitho.formats.records import SIGKILLED, Exit

T = TypeVar("T")
log = structlog.get_logger()

# The kubelet tries a failed pull again; the third failure counts as the answer.
_FAILED_PULLS = 3
_UNSCHEDULABLE = "Unschedulable"
# After this without a Pod we ask the API server what keeps it away.
_POD_SECONDS = 1.0
_LOOK_SECONDS = 1.0


async def until_started(watch: PodWatch, key: str, container: str, *, seconds: float) -> None:
    """
    Return once the container's process runs, or ran.

    Raises StartFailed with the cluster's words: at once for what no retry mends, after a few
    sightings of a failed pull, after `seconds` for a Pod that is not scheduled.
    """
    patience = _Patience()
    try:
        async with asyncio.timeout(seconds):
            async for sighting in watch.sightings(key):
                if sighting.pod and _has_started(sighting, sighting.pod, container, patience):
                    return
    except TimeoutError:
        cause = patience.last or StartObstacle("Timeout", "the cluster gave no reason", final=True)
        raise StartFailed(f"not started within {seconds:g} s: {cause}") from None


async def until_ended(watch: PodWatch, key: str, container: str) -> Exit:
    """Return how the container ended; a Pod that vanished counts as killed."""
    async for sighting in watch.sightings(key):
        if end := exit_of(sighting, container):
            return end
    raise AssertionError("sightings of a Pod never end")


async def until_seen(watch: PodWatch, key: str) -> PodStatus:
    """Return the Pod of a container once it was seen; it may be gone by then."""
    async for sighting in watch.sightings(key):
        if sighting.pod:
            return sighting.pod
    raise AssertionError("sightings of a Pod never end")


def exit_of(sighting: Sighting, container: str) -> Exit | None:
    """Return how a container ended, or None while it may still run or come."""
    end = sighting.pod.exit_of(container) if sighting.pod else None
    if end is None and sighting.lost:
        return Exit(SIGKILLED, NODE_LOST)
    if end is None and sighting.gone:
        return Exit(SIGKILLED, "the Pod was deleted")
    return end


async def explain_no_pod(kubernetes: Kubernetes, watch: PodWatch, key: str, job: Manifest) -> None:
    """
    Return if a Job's Pod comes soon; otherwise ask what keeps it away, again and again.

    The Pod is offered to the API server as a dry run. It answers at once with the words of the
    quota, of Pod Security or of a webhook, while the Job's own Events come late. Raises StartFailed
    with these words.
    """
    while True:
        try:
            async with asyncio.timeout(_POD_SECONDS):
                await until_seen(watch, key)
                return
        except TimeoutError:
            await _offer(kubernetes, job, key)


async def until_none(kubernetes: Kubernetes, selected: Mapping[str, str]) -> Exit:
    """
    Return once the API server has no Pod with these labels, and the watch had time to tell.

    For a Pod that the watch has not told of, or while the watch is silent.
    """
    while True:
        is_there = True
        try:
            is_there = bool(await statuses.find_pods(kubernetes, selected))
        except PeithoError as error:
            log.warning("pod not looked for", cause=str(error))
        await asyncio.sleep(_LOOK_SECONDS)
        if not is_there:
            return Exit(SIGKILLED, "the Pod was deleted")


async def first(*contenders: Coroutine[Any, Any, T]) -> T:
    """Return or raise the outcome of the coroutine that ends first, and cancel the others."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in contenders]
            done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
    except ExceptionGroup as raised:
        raise raised.exceptions[0] from raised
    return next(task for task in tasks if task in done).result()


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
        # The Pod may be there and have used up the quota, while the watch is silent.
        if not await statuses.find_pods(kubernetes, {labels.CONTAINER: key}):
            raise StartFailed(str(error)) from error


def _has_started(sighting: Sighting, pod: PodStatus, container: str, patience: "_Patience") -> bool:
    """Whether the process runs or ran. Raises StartFailed once it is known that it will not."""
    if pod.is_running(container):
        return True
    obstacle = pod.start_obstacle(container)
    if obstacle and patience.is_over(obstacle, pod):
        raise StartFailed(str(obstacle))
    end = exit_of(sighting, container)
    if end and not pod.started_at(container):
        raise StartFailed(str(StartObstacle("the Pod failed", end.reason, final=True)))
    return end is not None


class _Patience:
    """Counts how often a container was seen not to start, and remembers the last obstacle."""

    def __init__(self) -> None:
        self._failures = 0
        self._version = ""
        self.last: StartObstacle | None = None

    def is_over(self, obstacle: StartObstacle, pod: PodStatus) -> bool:
        """Whether to give up because of this obstacle."""
        if obstacle.final:
            return True
        self.last = obstacle
        if obstacle.reason == _UNSCHEDULABLE:
            return False  # a node may come
        if pod.resource_version != self._version:
            self._version = pod.resource_version
            self._failures += 1
        return self._failures >= _FAILED_PULLS
