"""
The process of a chaincode container: was it started, does it run, how did it end?

Record, Job and Pod tell. The record is as it was when the container was looked up.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from peitho.clients.kubernetes import statuses
from peitho.clients.kubernetes.api import Kubernetes
from peitho.clients.kubernetes.pod_watch import PodWatch, Sighting
from peitho.clients.kubernetes.records import Records
from peitho.core.chaincode.exits import ExitRecorder, unseen_exit
from peitho.core.clock import growing_pauses, unix_seconds
from peitho.core.container import State, Summary
from peitho.core.pods import waiting
from peitho.errors import PeithoError, Unavailable
from peitho.formats.bounded_dict import BoundedDict
from peitho.formats.kubernetes import labels
from peitho.formats.kubernetes.job_status import JobStatus
from peitho.formats.kubernetes.pod_status import NODE_LOST
from peitho.formats.records import CHAINCODE, SIGKILLED, Exit, RecordMetadata

log = structlog.get_logger()

# How often the cluster is asked for what the watch does not tell.
_LOOK_SECONDS = 1.0
_LONGEST_LOOK_SECONDS = 30.0
_STOP_GRACE_SECONDS = 1
# A peer gives a whole launch 300 s by default, and a gateway's client 30: stop, kill and remove
# have this together.
_STOP_SECONDS = 20.0
_LEAST_SECONDS = 1.0
_REMEMBERED = 1000
# The puller has fetched the layer before the process begins; its node's clock may be another.
_LAYER_SECONDS = 3600.0


class StopDeadlines:
    """Until when each container has to be gone: all calls that end it share the time."""

    def __init__(self) -> None:
        self._until: BoundedDict[str, float] = BoundedDict(_REMEMBERED)

    def left_seconds(self, key: str) -> float:
        """Return the time that is left to end a container, by the clock of the loop."""
        now = asyncio.get_running_loop().time()
        until = self._until.get(key, 0.0)
        if until + _STOP_SECONDS < now:  # a later attempt, and not the next call of the same
            until = self._until[key] = now + _STOP_SECONDS
        return max(until - now, _LEAST_SECONDS)


@dataclass(frozen=True, slots=True)
class ChaincodeProcess:
    """The process of one container."""

    kubernetes: Kubernetes
    watch: PodWatch
    exits: ExitRecorder
    record: RecordMetadata
    deadlines: StopDeadlines = field(default_factory=StopDeadlines)

    @property
    def key(self) -> str:
        """The label by which its Pod is known."""
        return labels.container_label(self.record.id)

    @property
    def sighting(self) -> Sighting:
        """Its Pod, as the watch saw it last."""
        return self.watch.see(self.key)

    @property
    def exit(self) -> Exit | None:
        """How it ended, as far as is known without asking the cluster; None while it may run."""
        return self.record.exit or waiting.exit_of(self.sighting, CHAINCODE)

    @property
    def awaits_layer(self) -> bool:
        """Whether a Pod may yet fetch its layer: it has not begun, or has only just."""
        sighting = self.sighting
        if sighting.pod is None or waiting.exit_of(sighting, CHAINCODE):
            return self.exit is None
        if sighting.pod.grace_seconds is not None:
            return False  # a puller that goes on would hold up the end of its Pod
        began = sighting.pod.started_at(CHAINCODE)
        return not began or time.time() - unix_seconds(began) < _LAYER_SECONDS

    async def is_started(self) -> bool:
        """Whether it was ever started."""
        return bool(self.exit or self.sighting.pod) or await self.job() is not None

    async def is_over(self) -> bool:
        """Whether it has ended, so that no Pod will come any more."""
        return bool(self.exit or (not self.sighting.pod and await self.unseen_exit()))

    async def job(self) -> JobStatus | None:
        """Return its Job, which exists from start to removal."""
        return await statuses.get_job(self.kubernetes, self.record.job_name)

    async def unseen_exit(self) -> Exit | None:
        """Ask the cluster how it ended; None if it runs or was never started."""
        job = await self.job()
        return await unseen_exit(self.kubernetes, job, self.record) if job else None

    async def _unseen_exit_of(self, job: JobStatus | None) -> Exit | None:
        if self.watch.awaits_another(self.key):
            return None
        return await unseen_exit(self.kubernetes, job, self.record)

    async def stop(self) -> Exit | None:
        """Stop the process, and return its exit once that is on the record; None if none ran."""
        if self.exit:
            return None
        if pod := self.sighting.pod:
            end, reference = await self.end(), pod.job
        elif job := await self.job():
            reference = job.reference
            if unseen := await unseen_exit(self.kubernetes, job, self.record):
                await self.exits.record(self.record, unseen, job=reference)
                return None
            end = await self.end()
        else:
            return None
        await self.exits.record(self.record, end, job=reference)
        return end

    async def end(self) -> Exit:
        """
        Delete the Job and its Pod, and return how the process ended.

        The Job goes first, so that it makes no other Pod. What has not ended in time is lost, as on
        a node that is down. Raises Unavailable if the cluster does not tell.
        """
        label = {labels.CONTAINER: self.key}
        self.exits.expect(self.key)
        try:
            async with asyncio.timeout(self.deadlines.left_seconds(self.key)):
                is_there = await self._delete(label)
        except TimeoutError:
            raise Unavailable(
                f"The Kubernetes API cannot be reached: it has not taken the end of container "
                f"{self.record.name} in time"
            ) from None
        if not is_there:
            return Exit(SIGKILLED, "stopped before its Pod was made")
        try:
            async with asyncio.timeout(self.deadlines.left_seconds(self.key)):
                return await waiting.first(
                    waiting.until_ended(self.watch, self.key, CHAINCODE),
                    waiting.until_none(self.kubernetes, label),
                )
        except TimeoutError:
            log.warning("chaincode lost", name=self.record.name, cause="its Pod does not end")
            return Exit(SIGKILLED, NODE_LOST)

    async def remove(self, records: Records, *, drained: Callable[[], Awaitable[None]]) -> None:
        """
        End the process, then remove its record, and with it what that owns.

        `drained` gives whoever still reads the log, which goes with the Pod, a moment.
        """
        if not self.exit and await self.is_started():
            await self.end()
        await drained()
        await records.remove(self.record)
        await self.kubernetes.delete("Job", self.record.job_name)

    async def _delete(self, label: Mapping[str, str]) -> bool:
        """Delete the Job and its Pods; False if there was no Pod."""
        pod = self.sighting.pod
        await self.kubernetes.delete("Job", self.record.job_name)
        pods = [pod] if pod else await statuses.find_pods(self.kubernetes, label)
        for each in pods:
            await self.kubernetes.delete("Pod", each.name, grace_seconds=_STOP_GRACE_SECONDS)
        return bool(pods)

    async def wait(self, condition: str) -> State:
        """Return once Docker's condition holds, or at once if it was never started."""
        if condition == "removed":
            await self._until_removed()
            return _exited(self.exit) if self.exit else State("created")
        end = self.record.exit
        is_started = bool(end) or await self.is_started()
        if not is_started and condition != "next-exit":
            return State("created")
        if end and condition == "next-exit":
            await self._until_removed()  # what has ended never runs again
        return _exited(end or await self._until_ended(is_started=is_started))

    async def _until_ended(self, *, is_started: bool) -> Exit:
        ended = waiting.until_ended(self.watch, self.key, CHAINCODE)
        if self.sighting.pod:
            return await ended
        return await waiting.first(ended, self._until_unseen_exit(is_started=is_started))

    async def _until_unseen_exit(self, *, is_started: bool) -> Exit:
        """
        Wait for the exit of a Pod that vanished while Peitho was away.

        Only its Job tells of it.
        """
        for pause_seconds in growing_pauses(_LOOK_SECONDS, _LONGEST_LOOK_SECONDS):
            with suppress(PeithoError):  # who waits, waits on while the cluster is away
                job = await self.job()
                is_started = is_started or job is not None
                is_known = is_started or not await self._is_there()
                end = await self._unseen_exit_of(job) if is_known else None
                if self.sighting.pod:
                    await asyncio.Event().wait()  # its own end will be told
                if end:
                    await self.exits.record(self.record, end, job=job.reference if job else None)
                    return end
            await asyncio.sleep(pause_seconds)
        raise AssertionError("the pauses never end")

    async def _until_removed(self) -> None:
        for pause_seconds in growing_pauses(_LOOK_SECONDS, _LONGEST_LOOK_SECONDS):
            with suppress(PeithoError):
                if not await self._is_there():
                    return
            await asyncio.sleep(pause_seconds)

    async def _is_there(self) -> bool:
        return await Records(self.kubernetes).is_there(self.record)


def summary(record: RecordMetadata, watch: PodWatch) -> Summary:
    """Return a container's entry in a list, from its record and its Pod."""
    sighting = watch.see(labels.container_label(record.id))
    return Summary(
        id=record.id,
        name=record.name,
        image=record.image,
        command=record.command,
        created=record.created,
        state=_state(record.exit, sighting),
        kubernetes_name=record.kubernetes_name,
        labels=record.shown_labels | (sighting.pod.proof if sighting.pod else {}),
    )


def _state(noted: Exit | None, sighting: Sighting) -> State:
    began = sighting.pod.started_at(CHAINCODE) if sighting.pod else ""
    end = noted or waiting.exit_of(sighting, CHAINCODE)
    if end:
        return State("exited", end.code, end.reason, began, end.finished_at, end.log)
    if began:
        return State("running", started_at=began)
    return State("created")


def _exited(end: Exit) -> State:
    return State("exited", end.code, end.reason, finished_at=end.finished_at, log=end.log)
