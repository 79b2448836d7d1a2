"""
Trials of runtime images: can the nodes have what chaincode will run on?

Where Peitho delivers images, nobody pulls the runtime image before the first launch. So it is tried
before `/build` is answered: a short Pod, once for each image. Only a pull that fails fails a build;
what else keeps the Pod from running is seen to at the launch.
"""

import asyncio
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass

import structlog

from peitho.clients.kubernetes.api import Kubernetes
from peitho.clients.kubernetes.pod_watch import PodWatch
from peitho.core.pods import user_namespaces
from peitho.core.pods.account_secrets import AccountSecrets
from peitho.core.pods.patience import Patience
from peitho.core.tasks import BackgroundTasks, to_its_end
from peitho.errors import PeithoError, StartFailed
from peitho.formats.bounded_dict import BoundedDict
from peitho.formats.images.image_record import Image
from peitho.formats.kubernetes import labels, trial_job
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.kubernetes.pod_options import PodOptions
from peitho.formats.kubernetes.pod_status import PodStatus
from peitho.formats.records import CHAINCODE
from peitho.settings.live import Live

log = structlog.get_logger()

# An image that nodes could have is not tried again for as long.
_REMEMBERED_SECONDS = 6 * 3600.0
_REMEMBERED = 1000
# A peer may name any image: so many Pods of trials there are at most.
_AT_ONCE = 8
# A Pod that no node has taken by then is not waited for: the launch will tell why.
_TAKEN_SECONDS = 4.0
# Its process is told of at once, and which image that is in the next status, within a second.
_TOLD_SECONDS = 2.0
# A large image may take longer to pull; then the build goes on, and so does the pull.
_PULLED_SECONDS = 60.0


@dataclass(slots=True)
class _Trial:
    """A trial under way; `cause` is why the image cannot be had, once that is known."""

    task: asyncio.Task[None] | None = None
    cause: str = ""
    image_id: str = ""


@dataclass(frozen=True, slots=True)
class _Seen:
    """When an image was seen on a node, by the monotonic clock, and the node's ID of it."""

    at_seconds: float
    image_id: str


class RuntimeTrials:
    """The runtime images that were tried, and those that are being tried."""

    def __init__(
        self,
        kubernetes: Kubernetes,
        watch: PodWatch,
        *,
        pods: Live[PodOptions],
        tasks: BackgroundTasks,
        account_secrets: AccountSecrets,
    ) -> None:
        self._kubernetes = kubernetes
        self._watch = watch
        self._pods = pods
        self._tasks = tasks
        self._account_secrets = account_secrets
        self._there: BoundedDict[str, _Seen] = BoundedDict(_REMEMBERED)
        self._trials: dict[str, _Trial] = {}
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def require(self, image: Image) -> str:
        """
        Return the ID of the image that a chaincode image needs, as a node says it; it may not yet.

        Raises PeithoError if nodes cannot have it.
        """
        pulled = self._pods.now.pulled(image.node_image)
        if seen := self._seen(pulled):
            return seen.image_id
        trial = self._trials.get(pulled) or self._begin(pulled, image)
        if trial.task:
            await asyncio.wait([trial.task])
        if trial.cause:
            what = "image" if image.prebuilt else "runtime image"
            raise PeithoError(f"the {what} {image.node_image} cannot be had: {trial.cause}")
        return trial.image_id

    def _seen(self, pulled: str) -> _Seen | None:
        seen = self._there.get(pulled)
        is_lately = seen is not None and time.monotonic() - seen.at_seconds < _REMEMBERED_SECONDS
        return seen if is_lately else None

    def _begin(self, pulled: str, image: Image) -> _Trial:
        """Begin a trial; it goes on to its end, whoever waits for it."""
        trial = self._trials[pulled] = _Trial()
        trial.task = self._tasks.spawn(self._carry_out(trial, pulled, image), name="runtime trial")
        trial.task.add_done_callback(lambda _: self._trials.pop(pulled, None))
        return trial

    async def _carry_out(self, trial: _Trial, pulled: str, image: Image) -> None:
        trial_id = secrets.token_hex(32)
        try:
            pods = self._pods.now
            job = trial_job.manifest(image, trial_id, options=pods)
            job = await self._account_secrets.added(job, pods)
            async with self._turns:
                trial.image_id = await self._try(job, labels.container_label(trial_id))
        except StartFailed as error:
            trial.cause = str(error)
            log.warning("runtime image cannot be had", image=pulled, cause=trial.cause)
        except (PeithoError, TimeoutError) as error:
            cause = str(error) or "no node has tried it in time"
            log.warning("runtime image not tried", image=pulled, cause=cause)
        else:
            self._there[pulled] = _Seen(time.monotonic(), trial.image_id)

    async def _try(self, job: Manifest, key: str) -> str:
        """Return its ID once a node has it. Raises StartFailed, TimeoutError, PeithoError."""
        name = job["metadata"]["name"]
        try:
            await self._kubernetes.create(await user_namespaces.suited(self._kubernetes, job))
            pod = await self._until_pulled(key)
            return pod.image_id(CHAINCODE) or await self._image_id(key, pod)
        finally:
            await to_its_end(self._drop(name))

    async def _until_pulled(self, key: str) -> PodStatus:
        patience, is_taken = Patience(), False
        async with asyncio.timeout(_TAKEN_SECONDS) as limit:
            async for sighting in self._watch.sightings(key):
                pod = sighting.pod
                if pod is None:
                    continue
                if sighting.gone:
                    raise TimeoutError
                if pod.containers and not is_taken:
                    is_taken = True
                    limit.reschedule(asyncio.get_running_loop().time() + _PULLED_SECONDS)
                obstacle = pod.start_obstacle(CHAINCODE)
                if obstacle and obstacle.is_about_image:
                    patience.see(obstacle, version=pod.resource_version)
                elif pod.has_image(CHAINCODE):
                    return pod
        raise AssertionError("sightings never end")

    async def _image_id(self, key: str, pod: PodStatus) -> str:
        """Return what the status of a Pod that has begun says next; nothing if it says nothing."""
        if not pod.is_running(CHAINCODE):
            return ""
        with suppress(TimeoutError):
            async with asyncio.timeout(_TOLD_SECONDS):
                async for sighting in self._watch.sightings(key):
                    if sighting.pod and (image_id := sighting.pod.image_id(CHAINCODE)):
                        return image_id
        return ""

    async def _drop(self, name: str) -> None:
        try:
            await self._kubernetes.delete("Job", name)
        except PeithoError as error:  # the cluster removes it after a while
            log.debug("trial not removed", job=name, cause=str(error))
