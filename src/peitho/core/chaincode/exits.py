"""
What is kept of a chaincode's end: code, reason and last log lines on its record, and an Event.

The record outlives the Pod, and Peitho; the Event is what `kubectl get events` shows.  Nobody waits
for either: a peer's `wait` is answered as soon as the Pod's status says that the process ended.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog

from peitho.clients.kubernetes.api import Kubernetes, KubernetesError, Manifest
from peitho.clients.kubernetes.pod_watch import PodWatch
from peitho.core.clock import now
from peitho.core.pods import waiting
from peitho.core.tasks import BackgroundTasks
from peitho.errors import Unavailable
from peitho.formats.bounded_dict import BoundedDict
from peitho.formats.kubernetes import manifests, names, records
from peitho.formats.kubernetes.pod_status import Exit
from peitho.formats.kubernetes.records import CHAINCODE

log = structlog.get_logger()

_PAUSE_SECONDS = 2.0
_REMEMBERED = 10_000
# Too many requests, and the API server's own trouble.
PASSING = (429, 500, 502, 503, 504)


class Endings:
    """Notes each end of a chaincode once, whether or not a peer waits for it."""

    def __init__(self, kubernetes: Kubernetes, watch: PodWatch, *, tasks: BackgroundTasks) -> None:
        self._kubernetes = kubernetes
        self._watch = watch
        self._tasks = tasks
        self._seen: BoundedDict[str, None] = BoundedDict(_REMEMBERED)
        watch.listen(self._look)

    def _look(self, key: str) -> None:
        sighting = self._watch.see(key)
        pod = sighting.pod
        if pod is None or pod["metadata"]["labels"].get(records.KIND) != CHAINCODE:
            return
        end = waiting.end_of(sighting, CHAINCODE)
        if end is None or key in self._seen:
            return
        self._seen[key] = None
        self._tasks.spawn(self._note(pod, end), name=f"end of {key[:12]}")

    async def _note(self, pod: Manifest, end: Exit) -> None:
        annotations = pod["metadata"]["annotations"]
        if await self._until_done(lambda: self._keep(annotations, end)):
            await self._until_done(lambda: self._tell(pod, end))

    async def _until_done(self, step: Callable[[], Awaitable[bool]]) -> bool:
        """What a step answers, as soon as the API server is there for it."""
        while True:
            try:
                return await step()
            except KubernetesError as error:
                if error.code not in PASSING:
                    # Removed meanwhile, or the name has a new owner: nobody asks for this code.
                    log.debug("end not noted", cause=str(error))
                    return False
            except Unavailable:
                pass
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _keep(self, annotations: dict[str, Any], end: Exit) -> bool:
        """Put the end on the container's record; False if it was there before."""
        name = annotations[records.NAME]
        secret_name = names.kubernetes_name("cc", name)
        secret = await self._kubernetes.get("Secret", secret_name)
        found = secret["metadata"] if secret else {}
        if secret and found["annotations"][records.ID] == annotations[records.ID]:
            if records.noted_exit(secret):
                return False
            await keep(self._kubernetes, secret, end)
        log.info("chaincode ended", name=name, exit_code=end.code, reason=end.reason)
        return True

    async def _tell(self, pod: Manifest, end: Exit) -> bool:
        owners = pod["metadata"].get("ownerReferences", [])
        job = next((owner for owner in owners if owner["kind"] == "Job"), None)
        if job is None:
            return False
        await tell(self._kubernetes, job, end)
        return True


async def tell(kubernetes: Kubernetes, job: Mapping[str, Any], end: Exit) -> None:
    """Make an Event on the Job of that `name` and `uid`.  Raises KubernetesError, Unavailable."""
    about = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": job["name"],
        "uid": job["uid"],
        "namespace": kubernetes.namespace,
    }
    message = f"The chaincode ended with exit code {end.code}"
    await kubernetes.create(
        manifests.event(
            about,
            reason="ChaincodeEnded",
            message=f"{message}: {end.reason}" if end.reason else message,
            warning=end.code != 0,
            at=now(),
        )
    )


async def keep(kubernetes: Kubernetes, secret: Manifest, end: Exit) -> None:
    """Put an end on the record of exactly this container.  Raises KubernetesError, Unavailable."""
    note = records.exit_note(end, finished_at=end.finished_at or now())
    metadata = secret["metadata"]
    changes = {"metadata": {"uid": metadata["uid"], "annotations": {records.EXIT: note}}}
    await kubernetes.patch("Secret", metadata["name"], changes)
