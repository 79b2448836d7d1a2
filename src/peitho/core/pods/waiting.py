"""Waiting for a Pod: until its container runs or ends, or the cluster says why it cannot run."""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

import structlog

from peitho.clients.kubernetes import statuses
from peitho.clients.kubernetes.api import Kubernetes
from peitho.clients.kubernetes.pod_watch import PodWatch, Sighting
from peitho.core.pods.explaining import Asked, explain
from peitho.core.pods.patience import Patience
from peitho.errors import PeithoError, StartFailed
from peitho.formats.kubernetes.pod_status import NODE_LOST, POD_DELETED, PodStatus, StartObstacle
from peitho.formats.records import SIGKILLED, Exit

T = TypeVar("T")
log = structlog.get_logger()

_LOOK_SECONDS = 1.0


class BegunAlone(StartFailed):
    """A container was begun before what it needs was there: another Pod may do better."""


async def until_started(
    watch: PodWatch, key: str, container: str, *, seconds: float, asked: Asked | None = None
) -> None:
    """
    Return once the container's process runs, or ran; `asked` is who is asked what keeps it back.

    Raises StartFailed with the cluster's words: at once for what no retry mends, after some failed
    pulls, soon for what somebody has to bring, and after `seconds` for all else; BegunAlone if
    another Pod may do better.
    """
    patience = Patience()
    try:
        async with asyncio.timeout(seconds):
            running = _until_process(watch, key, container, patience)
            await first(running, *([explain(asked, patience)] if asked else []))
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
        return Exit(SIGKILLED, POD_DELETED)
    return end


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
            return Exit(SIGKILLED, POD_DELETED)


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


async def _until_process(watch: PodWatch, key: str, container: str, patience: Patience) -> None:
    """Return once the process runs or ran. Raises StartFailed once it is known that it will not."""
    sightings = watch.sightings(key)
    while True:
        sighting = await first(anext(sightings), _worn_out(patience))
        if sighting.pod and _has_started(sighting, sighting.pod, container, patience):
            return


async def _worn_out(patience: Patience) -> Sighting:
    await patience.stand()
    raise AssertionError("patience never ends without an error")


def _has_started(sighting: Sighting, pod: PodStatus, container: str, patience: Patience) -> bool:
    # Whoever is told of a start may look at the Pod, or ask for its log: not before they can.
    if pod.is_shown_running(container):
        return True
    obstacle = pod.start_obstacle(container)
    patience.see(obstacle, version=pod.resource_version)
    if pod.has_begun_alone:
        raise BegunAlone(str(obstacle or "its layer was not there"))
    end = exit_of(sighting, container)
    if end and not pod.started_at(container):
        raise StartFailed(str(StartObstacle("the Pod failed", end.reason, final=True)))
    return end is not None
