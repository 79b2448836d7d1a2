"""
The ends that no watch tells of: those of Pods that went while Peitho was not there.

Their Jobs are over, and say so.  Looked for after each list of the Pods.
"""

import asyncio

import structlog

from peitho.clients.kubernetes.api import Kubernetes, KubernetesError, Manifest
from peitho.clients.kubernetes.pod_watch import PodWatch
from peitho.core.chaincode import exits
from peitho.core.tasks import BackgroundTasks, until_done
from peitho.formats.kubernetes import manifests, records
from peitho.formats.kubernetes.pod_status import SIGKILLED, Exit
from peitho.formats.kubernetes.records import CHAINCODE

log = structlog.get_logger()

_LOOK_SECONDS = 1.0
_AGAIN_SECONDS = 5.0


class Vanished:
    """Notes the ends of Pods that went unseen, on their records."""

    def __init__(
        self, kubernetes: Kubernetes, watch: PodWatch, *, instance: str, tasks: BackgroundTasks
    ) -> None:
        self._kubernetes = kubernetes
        self._watch = watch
        self._labels = records.kind_labels(instance, CHAINCODE)
        self._tasks = tasks
        self._looking = False
        self._given_up: set[str] = set()
        watch.after_list(self._begin)

    def _begin(self) -> None:
        if not self._looking:
            self._looking = True
            self._given_up.clear()
            self._tasks.spawn(self._look(), name="vanished Pods")

    async def _look(self) -> None:
        try:
            looking = "looking for Pods that vanished"
            await until_done(self._note_all, what=looking, pause_seconds=_AGAIN_SECONDS)
        finally:
            self._looking = False

    async def _note_all(self) -> None:
        """Return once no Job is left that has neither a Pod nor an end."""
        while candidates := await self._without_pod():
            for secret, job in candidates:
                await self._note_end(secret, job)
            await asyncio.sleep(_LOOK_SECONDS)

    async def _note_end(self, secret: Manifest, job: Manifest) -> None:
        """Note the end of one, if it has ended; what is wrong with it keeps no other from its."""
        try:
            if end := await unseen_end(self._kubernetes, job, secret):
                await self._note(secret, job, end)
        except KubernetesError as error:
            if error.code in exits.PASSING:
                raise
            # Removed meanwhile, or forbidden: it is looked at again after the next list.
            self._given_up.add(records.label_of(secret))
            name = secret["metadata"]["name"]
            log.warning("end not noted", secret=name, cause=str(error))

    async def _note(self, secret: Manifest, job: Manifest, end: Exit) -> None:
        await exits.keep(self._kubernetes, secret, end)
        name = secret["metadata"]["annotations"][records.NAME]
        log.info("chaincode ended", name=name, exit_code=end.code, reason=end.reason)
        await exits.tell(self._kubernetes, job["metadata"], end)

    async def _without_pod(self) -> list[tuple[Manifest, Manifest]]:
        """The records and Jobs of what was started, has no end noted, and no Pod that is known."""
        jobs = await self._kubernetes.find("Job", labels=self._labels)
        by_name = {job["metadata"]["name"]: job for job in jobs}
        found = await self._kubernetes.find_metadata("Secret", labels=self._labels)
        open_ = [each for each in found if self._is_open(each)]
        started = ((each, by_name.get(manifests.job_name(each))) for each in open_)
        return [(record, job) for record, job in started if job]

    def _is_open(self, record: Manifest) -> bool:
        """Whether its end is not known, and no Pod of it either; a damaged record is let be."""
        try:
            key = records.label_of(record)
            is_noted = records.noted_exit(record) is not None
        except (ValueError, KeyError, TypeError):
            return False
        return not (is_noted or key in self._given_up or self._watch.see(key).pod)


async def unseen_end(kubernetes: Kubernetes, job: Manifest | None, secret: Manifest) -> Exit | None:
    """How a container ended whose Job is over, or gone, and has no Pod; None if that is not so."""
    at = manifests.finished_at(job) if job else ""
    if job and not at:
        return None
    # A watch that is silent at the moment does not know of a Pod that is there.
    if await kubernetes.find("Pod", labels={records.CONTAINER: records.label_of(secret)}):
        return None
    if job and manifests.is_complete(job):
        return Exit(0, finished_at=at)
    return Exit(SIGKILLED, "the Pod was deleted", at)
