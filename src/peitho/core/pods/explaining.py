"""
What keeps a Pod from running that its status does not tell: Events and the Job are asked.

They are asked only while nothing else is known and the Pod's status stands still, and ever more
seldom: on a busy node a Pod may take long and need nothing, and a list of Events costs an API
server as much as there are in the namespace. Without the right to read Events, or while the cluster
is busy, the rest is told all the same.
"""

import asyncio
from dataclasses import dataclass
from http import HTTPStatus

import structlog

from peitho.clients import retries
from peitho.clients.kubernetes import statuses
from peitho.clients.kubernetes.api import Kubernetes, KubernetesError
from peitho.clients.kubernetes.pod_watch import PodWatch
from peitho.core.pods.patience import Patience
from peitho.errors import PeithoError
from peitho.formats.kubernetes import events, labels, user_namespace
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.kubernetes.pod_status import StartObstacle

log = structlog.get_logger()

# An ordinary Pod is there, and runs, before anybody is asked.
_NO_POD_SECONDS = 1.0
_NOT_RUNNING_SECONDS = 3.0
_STILL_SECONDS = 2.0
_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 10.0
# Who suspends Jobs until there is room, such as Kueue, lets most of them go at once.
_SUSPENDED_SECONDS = 10.0
# A webhook with side effects takes no dry run, which says nothing of the Pod.
_NO_DRY_RUN = "does not support dry run"


@dataclass(frozen=True, slots=True)
class Asked:
    """Whom to ask about the Pod of one container; `job` is the Job that makes it, None if none."""

    kubernetes: Kubernetes
    watch: PodWatch
    key: str
    job: Manifest | None = None


class _Standing:
    """Whether the status of a Pod has stood still for a while; a Pod that is not there does."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._since = asked.watch.see(asked.key).pod, asyncio.get_running_loop().time()

    def is_still(self) -> bool:
        """Look again."""
        pod, now = self._asked.watch.see(self._asked.key).pod, asyncio.get_running_loop().time()
        if pod != self._since[0]:
            self._since = pod, now
        return pod is None or now - self._since[1] >= _STILL_SECONDS


async def explain(asked: Asked, patience: Patience) -> None:
    """
    Ask for what keeps a Pod back, and tell it to the launch's patience; for ever.

    Raises StartFailed once that is the answer.
    """
    await patience.pause(_NO_POD_SECONDS)
    standing = _Standing(asked)
    if asked.watch.see(asked.key).pod:
        await patience.pause(_NOT_RUNNING_SECONDS - _NO_POD_SECONDS)
    pause_seconds = _PAUSE_SECONDS
    while True:
        if not standing.is_still():
            pause_seconds = _PAUSE_SECONDS
        elif patience.needs_cause:
            patience.be_told(await _answer(asked))
        await patience.pause(pause_seconds)
        pause_seconds = min(pause_seconds * 1.5, _LONGEST_PAUSE_SECONDS)


async def _answer(asked: Asked) -> StartObstacle | None:
    """What the cluster says; nothing while it says nothing."""
    try:
        if pod := asked.watch.see(asked.key).pod:
            return events.start_obstacle(await _told(asked, "Pod", pod.name))
        if asked.job:
            return await _of_job(asked, asked.job)
    except PeithoError as error:  # it is asked again
        log.debug("cluster not asked", cause=str(error))
    return None


async def _of_job(asked: Asked, job: Manifest) -> StartObstacle | None:
    """What keeps a Job from making its Pod."""
    name = job["metadata"]["name"]
    status = await statuses.get_job(asked.kubernetes, name)
    if status and status.is_suspended:
        message = f"the Job {name} has spec.suspend, and no Pod until whoever set it lets it go"
        return StartObstacle("Suspended", message, final=False, patience_seconds=_SUSPENDED_SECONDS)
    if refused := await _of_offer(asked, job):
        return refused
    return events.start_obstacle(await _told(asked, "Job", name))


async def _told(asked: Asked, kind: str, name: str) -> list[events.ToldEvent]:
    """Return the Events of an object; none without the right to read them."""
    fields = f"involvedObject.kind={kind},involvedObject.name={name}"
    try:
        found = [events.read(each) for each in await asked.kubernetes.find("Event", fields=fields)]
    except KubernetesError as error:
        if error.code != HTTPStatus.FORBIDDEN:
            raise
        log.debug("events not read", cause=str(error))
        return []
    return [each for each in found if each and (each.kind, each.name) == (kind, name)]


async def _of_offer(asked: Asked, job: Manifest) -> StartObstacle | None:
    """
    Offer the Pod to the API server as a dry run, and return the words that refuse it.

    They are those of the quota, of Pod Security or of a webhook, and come without Events, too.
    """
    try:
        await asked.kubernetes.create(user_namespace.pod_of(job), dry_run=True)
    except KubernetesError as error:
        if _NO_DRY_RUN in str(error):
            return None
        # The Pod may be there and have used up the quota, while the watch is silent.
        if await statuses.find_pods(asked.kubernetes, {labels.CONTAINER: asked.key}):
            return None
        is_busy = error.code in retries.PASSING
        return StartObstacle("", user_namespace.explained(str(error)), final=not is_busy)
    return None
