"""
Exits of chaincode: each is recorded once, from whichever source tells of it first.

There are four sources: the Pod watch sees a Pod end or vanish; a Job is over whose Pod nobody saw
vanish; a peer stops the container; a peer waits, and its wait finds one of these. The exit is put
on the record, which outlives the Pod and Peitho, and an Event is made on the Job for `kubectl get
events`.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import structlog

from peitho import audit, metrics
from peitho.clients.kubernetes import statuses
from peitho.clients.kubernetes.api import Kubernetes, KubernetesError
from peitho.clients.kubernetes.pod_watch import PodWatch
from peitho.clients.kubernetes.records import Records
from peitho.clients.turns import in_turns
from peitho.core.clock import growing_pauses, now
from peitho.core.pods import waiting
from peitho.core.tasks import BackgroundTasks, until_done
from peitho.errors import PeithoError
from peitho.formats.bounded_dict import BoundedDict
from peitho.formats.kubernetes import events, labels, names
from peitho.formats.kubernetes.job_status import JobStatus
from peitho.formats.kubernetes.objects import ObjectReference
from peitho.formats.kubernetes.pod_status import NODE_LOST, POD_DELETED, PodStatus
from peitho.formats.records import CHAINCODE, OUT_OF_MEMORY, SIGKILLED, Exit, RecordMetadata

log = structlog.get_logger()

_PAUSE_SECONDS = 2.0
_LOOK_SECONDS = 1.0
_LONGEST_LOOK_SECONDS = 300.0
_AGAIN_SECONDS = 5.0
# A peer's stop or wait is held up by this at most; the exit is recorded all the same.
_STOP_SECONDS = 5.0
_REMEMBERED = 10_000
# A peer launches what has ended anew, and removes its record: what is told of it then.
_TOLD = 50
# What the API server answers if a record is gone, or is another container's by now.
_NOBODYS = (404, 409)
# What it answers to what it will never take.
_WRONG = (400, 413, 422)


@dataclass(frozen=True, slots=True)
class Ended:
    """A chaincode that ended, as it is remembered for a while; `exit_class` is a metric's word."""

    name: str
    package: str
    msp_id: str
    peer: str
    exit_class: str
    end: Exit


@dataclass(frozen=True, slots=True)
class _News:
    """A container's exit as a source told it; `job` and `record` may not be known."""

    key: str
    container_id: str
    name: str
    end: Exit
    job: ObjectReference | None
    record: RecordMetadata | None = None
    has_run: bool = True


class ExitRecorder:
    """Records exits of chaincode: on the record, in the log, and as an Event on the Job."""

    def __init__(
        self,
        kubernetes: Kubernetes,
        watch: PodWatch,
        *,
        instance: str,
        tasks: BackgroundTasks,
        records: Records | None = None,
    ) -> None:
        self._kubernetes = kubernetes
        self._records = records or Records(kubernetes)
        self._watch = watch
        self._instance = instance
        self._labels = labels.kind_labels(instance, CHAINCODE)
        self._tasks = tasks
        self._ended_by_us: BoundedDict[str, None] = BoundedDict(_REMEMBERED)
        self._recordings: BoundedDict[str, asyncio.Task[None]] = BoundedDict(_REMEMBERED)
        self._listed = asyncio.Event()
        self._ended: deque[Ended] = deque(maxlen=_TOLD)

    async def run(self) -> None:
        """
        Record exits for ever: those that the watch tells, and those that it missed.

        What it missed is looked for after each of its lists; a Job that has no Pod, and is not over
        either, is asked for again, with pauses that grow.
        """
        self._watch.listen(self._take_news)
        self._watch.after_list(self._listed.set)
        while True:
            await self._listed.wait()
            self._listed.clear()
            open_jobs = await until_done(
                self._without_pod,
                what="recording of exits that nobody saw",
                pause_seconds=_AGAIN_SECONDS,
            )
            for pause_seconds in growing_pauses(_LOOK_SECONDS, _LONGEST_LOOK_SECONDS):
                open_jobs = [each for each in open_jobs if not await self._is_settled(*each)]
                if not open_jobs or await self._is_listed(within_seconds=pause_seconds):
                    break

    async def record(
        self, record: RecordMetadata, end: Exit, *, job: ObjectReference | None
    ) -> None:
        """
        Record the exit of a container, and return once it is on the record.

        An exit that was recorded before stays as it is. If the cluster is away for long, this
        returns earlier, and the exit is recorded when the cluster is back.
        """
        if record.exit is None:
            key = labels.container_label(record.id)
            news = _News(key, record.id, record.name, end, job, record)
            await asyncio.wait([self._begin(news)], timeout=_STOP_SECONDS)

    def ended(self) -> Sequence[Ended]:
        """Return the chaincodes that ended lately, the latest first."""
        return list(reversed(self._ended))

    def expect(self, key: str) -> None:
        """Note that a container is being ended on purpose: its end counts as a stop."""
        self._ended_by_us[key] = None

    def _take_news(self, key: str) -> None:
        """Record the exit of a Pod's chaincode, if the Pod has ended."""
        sighting = self._watch.see(key)
        pod = sighting.pod
        if pod is None or pod.kind != CHAINCODE or not pod.record_id:
            return
        if end := waiting.exit_of(sighting, CHAINCODE):
            self._begin(_news_of(pod, end))

    def _begin(self, news: _News) -> asyncio.Task[None]:
        """Begin to record an exit; return the task of the first recording for this container."""
        if news.key not in self._recordings:
            task = self._tasks.spawn(self._carry_out(news), name=f"exit of {news.key[:12]}")
            self._recordings[news.key] = task
        return self._recordings[news.key]

    async def _carry_out(self, news: _News) -> None:
        if await _until_answered(lambda: self._keep(news)) and news.job:
            event = self._tell(news.job, news.end)
            self._tasks.spawn(event, name=f"event of {news.key[:12]}")

    async def _keep(self, news: _News) -> bool:
        """Put the exit on the container's record; False if there is one already."""
        record = news.record or await self._read(news)
        if record:
            if record.exit:
                return False
            finished_at = news.end.finished_at or now()
            await self._records.note_exit(record, news.end, finished_at=finished_at)
        exit_class = _class_of(news, is_stopped=news.key in self._ended_by_us)
        metrics.EXITS.labels(exit_class).inc()
        self._remember(news, record, exit_class)
        outcome = news.end.reason or f"exit code {news.end.code}"
        audit.record("chaincode ended", container=news.name, code=news.end.code, outcome=outcome)
        log.info("chaincode ended", name=news.name, exit_code=news.end.code, reason=news.end.reason)
        return True

    def _remember(self, news: _News, record: RecordMetadata | None, exit_class: str) -> None:
        """Keep for a while how a chaincode ended."""
        said = record.labels if record else {}
        package, msp_id = said.get(labels.PACKAGE_ID, ""), said.get(labels.MSP_ID, "")
        peer = record.peer_address if record else ""
        end = replace(news.end, finished_at=news.end.finished_at or now())
        self._ended.append(Ended(news.name, package, msp_id, peer, exit_class, end))

    async def _read(self, news: _News) -> RecordMetadata | None:
        """Return the record of exactly this container; None if it is gone or renamed."""
        record = await self._records.get_metadata(names.chaincode_name(self._instance, news.name))
        if isinstance(record, RecordMetadata) and record.id == news.container_id:
            return record
        return None

    async def _tell(self, job: ObjectReference, end: Exit) -> None:
        message = f"The chaincode ended with exit code {end.code}"
        event = events.event(
            job,
            namespace=self._kubernetes.namespace,
            reason="ChaincodeEnded",
            message=f"{message}: {end.reason}" if end.reason else message,
            warning=end.code != 0,
            at=now(),
            labels=self._labels,
        )

        async def create() -> bool:
            await self._kubernetes.create(event)
            return True

        await _until_answered(create)

    async def _is_listed(self, *, within_seconds: float) -> bool:
        """Wait for the watch's next list, up to a time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_seconds):
                await self._listed.wait()
        return self._listed.is_set()

    async def _is_settled(self, record: RecordMetadata, job: JobStatus) -> bool:
        """
        Whether a Job without a Pod needs no further look: it has one now, or its exit is recorded.

        What goes wrong with one is logged, and keeps no other from its end.
        """
        key = labels.container_label(record.id)
        if self._watch.see(key).pod or self._watch.awaits_another(key):
            return True
        try:
            current = await statuses.get_job(self._kubernetes, job.name)
            end = await unseen_exit(self._kubernetes, current, record)
            if end:
                await self.record(record, end, job=job.reference)
        except PeithoError as error:
            log.warning("exit not looked for", name=record.name, cause=str(error))
            return False
        return end is not None

    async def _without_pod(self) -> list[tuple[RecordMetadata, JobStatus]]:
        """Return records and Jobs of what was started, and has neither exit nor known Pod."""
        records = [
            record
            async for record in in_turns(await self._records.find(self._labels))
            if record.exit is None and not self._watch.see(labels.container_label(record.id)).pod
        ]
        job_names = [record.job_name for record in records]
        jobs = await statuses.get_jobs(self._kubernetes, job_names, labels=self._labels)
        return [(record, job) for record in records if (job := jobs.get(record.job_name))]


async def unseen_exit(
    kubernetes: Kubernetes, job: JobStatus | None, record: RecordMetadata
) -> Exit | None:
    """Return the exit of a container whose Job is over or gone and has no Pod; None otherwise."""
    if job and not job.finished_at:
        return None
    # The API server is asked, since the watch may be silent and not know of a Pod.
    label = {labels.CONTAINER: labels.container_label(record.id)}
    if await statuses.find_pods(kubernetes, label):
        return None
    if job and job.is_complete:
        return Exit(0, finished_at=job.finished_at)
    return Exit(SIGKILLED, POD_DELETED, job.finished_at if job else "")


def _news_of(pod: PodStatus, end: Exit) -> _News:
    has_run = bool(pod.started_at(CHAINCODE))
    return _News(pod.container_label, pod.record_id, pod.record_name, end, pod.job, has_run=has_run)


def _class_of(news: _News, *, is_stopped: bool) -> str:
    """One of `metrics.EXIT_CLASSES`; the cluster's words are in `reason`."""
    end = news.end
    if not news.has_run:
        return "not started"
    if OUT_OF_MEMORY in end.reason:
        return "out of memory"
    if end.reason.startswith("Evicted"):
        return "evicted"
    if is_stopped:
        return "stopped"
    if end.reason == NODE_LOST:
        return "lost"
    if end.reason == POD_DELETED:
        return "deleted"
    return "completed" if end.code == 0 else "failed"


def _passes(error: PeithoError) -> bool:
    """Whether an exit may yet be recorded: all but a refusal of just this passes one day."""
    if not isinstance(error, KubernetesError) or error.is_contended:
        return True
    return error.code not in (*_NOBODYS, *_WRONG)


async def _until_answered(step: Callable[[], Awaitable[bool]]) -> bool:
    """Return the result of a step, tried while the API server is away; False if it refuses."""
    try:
        return await until_done(
            step,
            what="recording of an exit",
            pause_seconds=_PAUSE_SECONDS,
            passes=_passes,
        )
    except PeithoError as error:
        # Removed meanwhile, or the name has a new owner: nobody asks for this exit.
        is_nobodys = isinstance(error, KubernetesError) and error.code in _NOBODYS
        (log.debug if is_nobodys else log.warning)("exit not recorded", cause=str(error))
        return False
