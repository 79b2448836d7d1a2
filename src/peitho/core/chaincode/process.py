"""
A chaincode container's process: was it started, does it run, how did it end.

Told by its record, its Job and its Pod; the Secret is as it was when it was looked up.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass

import structlog

from peitho.clients.kubernetes.api import Kubernetes, Manifest
from peitho.clients.kubernetes.pod_watch import PodWatch, Sighting
from peitho.core.chaincode import exits
from peitho.core.chaincode.vanished import unseen_end
from peitho.core.container import State, Summary
from peitho.core.pods import waiting
from peitho.errors import PeithoError
from peitho.formats.kubernetes import manifests, pod_status, records
from peitho.formats.kubernetes.pod_status import Exit
from peitho.formats.kubernetes.records import CHAINCODE

log = structlog.get_logger()

# How often the cluster is asked about what its watch does not tell.
_LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class ChaincodeProcess:
    """The process of one container."""

    kubernetes: Kubernetes
    watch: PodWatch
    secret: Manifest

    @property
    def key(self) -> str:
        """The label's value by which its Pod is known."""
        return records.label_of(self.secret)

    @property
    def sighting(self) -> Sighting:
        """Its Pod, as last told of."""
        return self.watch.see(self.key)

    @property
    def end(self) -> Exit | None:
        """How it ended, as far as that is known without asking; None while it may run."""
        return records.noted_exit(self.secret) or waiting.end_of(self.sighting, CHAINCODE)

    async def job(self) -> Manifest | None:
        """Its Job, which is there from the start to the removal."""
        return await self.kubernetes.get("Job", manifests.job_name(self.secret))

    async def unseen_end(self) -> Exit | None:
        """How it ended, if it was started and no watch told of it; the API server is asked."""
        job = await self.job()
        return await unseen_end(self.kubernetes, job, self.secret) if job else None

    async def note(self, end: Exit) -> None:
        """Keep how it ended on the record, where it outlives the Pod."""
        try:
            await exits.keep(self.kubernetes, self.secret, end)
        except PeithoError as error:
            # Removed meanwhile, or the name has a new owner: then nobody asks for this code.
            name = self.secret["metadata"]["annotations"][records.NAME]
            log.debug("exit not noted", name=name, cause=str(error))

    async def wait(self, condition: str) -> State:
        """Return once Docker's condition holds, or at once if it was never started."""
        if condition == "removed":
            await self._until_removed()
            return _exited(self.end) if self.end else State("created")
        end = records.noted_exit(self.secret)
        is_started = bool(end or self.sighting.pod) or await self.job() is not None
        if not is_started and condition != "next-exit":
            return State("created")
        if end and condition == "next-exit":
            await self._until_removed()  # what has ended never runs again
        return _exited(end or await self._until_ended(is_started=is_started))

    async def _until_ended(self, *, is_started: bool) -> Exit:
        ended = waiting.until_ended(self.watch, self.key, CHAINCODE)
        if self.sighting.pod:
            return await ended
        return await waiting.first(ended, self._until_unseen_end(is_started=is_started))

    async def _until_unseen_end(self, *, is_started: bool) -> Exit:
        """A Pod that went while Peitho was not there is not told of, but its Job knows."""
        while True:
            with suppress(PeithoError):  # who waits, waits on while the cluster is away
                job = await self.job()
                is_started = is_started or job is not None
                is_over = is_started or await self._is_removed()
                end = await unseen_end(self.kubernetes, job, self.secret) if is_over else None
                if self.sighting.pod:
                    await asyncio.Event().wait()  # its own end will be told
                if end:
                    await self.note(end)
                    return end
            await asyncio.sleep(_LOOK_SECONDS)

    async def _until_removed(self) -> None:
        while True:
            with suppress(PeithoError):
                if await self._is_removed():
                    return
            await asyncio.sleep(_LOOK_SECONDS)

    async def _is_removed(self) -> bool:
        metadata = self.secret["metadata"]
        found = await self.kubernetes.get("Secret", metadata["name"])
        return found is None or found["metadata"]["uid"] != metadata["uid"]


def summary(secret: Manifest, watch: PodWatch) -> Summary:
    """A chaincode container in a list, from its Secret's metadata and its Pod."""
    metadata = secret["metadata"]
    annotations = metadata["annotations"]
    sighting = watch.see(records.label_of(secret))
    return Summary(
        id=annotations[records.ID],
        name=annotations[records.NAME],
        image=annotations[records.IMAGE],
        command=annotations[records.COMMAND],
        created=annotations[records.CREATED],
        state=_state(records.noted_exit(secret), sighting),
        kubernetes_name=metadata["name"],
    )


def _state(noted: Exit | None, sighting: Sighting) -> State:
    began = pod_status.started_at(sighting.pod, CHAINCODE) if sighting.pod else ""
    end = noted or waiting.end_of(sighting, CHAINCODE)
    if end:
        return State("exited", end.code, end.reason, began, end.finished_at, end.log)
    if began:
        return State("running", started_at=began)
    return State("created")


def _exited(end: Exit) -> State:
    return State("exited", end.code, end.reason, finished_at=end.finished_at, log=end.log)
