"""
One chaincode container: its record is the created container, its Job the started one.

Nothing here restarts a process: a peer launches ended chaincode by itself, and loses track of a
process that comes back (DESIGN 5).
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import structlog

from peitho.clients.disk.archive_reading import Reading
from peitho.clients.disk.storage import Storage, spool
from peitho.clients.kubernetes import statuses
from peitho.clients.kubernetes.api import Kubernetes, KubernetesError
from peitho.clients.kubernetes.pod_watch import PodWatch
from peitho.clients.kubernetes.records import Records
from peitho.core.chaincode import launch
from peitho.core.chaincode.exits import ExitRecorder
from peitho.core.chaincode.launch import Launch
from peitho.core.chaincode.logs import PodLog
from peitho.core.chaincode.process import ChaincodeProcess, StopDeadlines, summary
from peitho.core.chaincode.runtime import note_runtime
from peitho.core.chaincode.settling import Settling
from peitho.core.container import Archive, Details, OutputOptions, Said, State
from peitho.core.images import publisher
from peitho.core.images.publisher import PublishedImage, Publisher
from peitho.core.pods import waiting
from peitho.core.pods.account_secrets import AccountSecrets
from peitho.core.pods.tokens import DeliveryTokens, Holder, blob_scope
from peitho.core.readers import Readers
from peitho.core.tasks import BackgroundTasks, to_its_end
from peitho.errors import Conflict, InvalidArgument, NotFound, StartFailed, Unsupported
from peitho.formats import tar
from peitho.formats.docker.streams import STDOUT
from peitho.formats.images.image_record import Image
from peitho.formats.kubernetes import chaincode_job, labels, mount_paths
from peitho.formats.kubernetes.pod_options import PodOptions
from peitho.formats.records import CHAINCODE, Record, RecordMetadata
from peitho.formats.tar import ArchiveLimits, FileWithMode
from peitho.settings.live import Live

log = structlog.get_logger()

# A Secret holds 1 MiB, base64 and all; the peers' files are four or five, of 5 KiB.
_FILES_BYTES = 512 * 1024
_FILES_LIMITS = ArchiveLimits(entries=1000, total_bytes=_FILES_BYTES, names_bytes=_FILES_BYTES)
# The last lines of a log come within this after the end (the kubelet looks once a second).
_DRAIN_SECONDS = 2.0
# What a second try of a launch has at least.
_LEAST_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class ChaincodeOptions:
    """What the operator decided about launches."""

    start_timeout_seconds: float
    settle_seconds: float


@dataclass(frozen=True, slots=True)
class ChaincodeParts:
    """
    What all chaincode containers work with, and what is known about all of them together.

    `tokens` and `ca`, a certificate in PEM, are for the calls of their Pods.
    """

    kubernetes: Kubernetes
    watch: PodWatch
    records: Records
    publisher: Publisher
    storage: Storage
    exits: ExitRecorder
    tokens: DeliveryTokens
    ca: str
    tasks: BackgroundTasks
    options: Live[ChaincodeOptions]
    pods: Live[PodOptions]
    account_secrets: AccountSecrets
    settling: Settling = field(default_factory=Settling)
    deadlines: StopDeadlines = field(default_factory=StopDeadlines)
    waits: Counter[str] = field(default_factory=Counter)
    _readers: dict[str, Readers] = field(default_factory=dict)

    def process(self, record: RecordMetadata) -> ChaincodeProcess:
        """Return the process of a record's container."""
        return ChaincodeProcess(self.kubernetes, self.watch, self.exits, record, self.deadlines)

    def token(self, layer: str, holder: Holder) -> str:
        """Return the token by which a container's Pod fetches its layer."""
        return self.tokens.issue(blob_scope(layer), holder)

    def readers(self, key: str) -> Readers:
        """Return the readers of a container's output."""
        idle = [idle_key for idle_key, readers in self._readers.items() if readers.are_none]
        for idle_key in idle:
            del self._readers[idle_key]
        return self._readers.setdefault(key, Readers())


class ChaincodeContainer:
    """One chaincode container; its record is as it was when the container was looked up."""

    def __init__(self, parts: ChaincodeParts, record: Record) -> None:
        self._parts = parts
        self._record = record
        self._process = parts.process(record)

    @property
    def id(self) -> str:
        """64 hexadecimal digits."""
        return self._record.id

    async def put_archive(self, path: str, chunks: AsyncIterator[bytes]) -> None:
        """
        Add the files of an archive to the record; the Pod has them at the same paths.

        Raises InvalidArgument for an archive that is broken, hostile or larger than 512 KiB,
        and for a path that no Pod can have; Conflict once it is started, for no Pod would see it.
        """
        if self._is_started():
            raise Conflict(
                f"container {self._record.name} is running: files are uploaded before its start"
            )
        async with self._parts.storage.spool_directory("files-") as directory:
            archive = directory / "archive"
            await spool(chunks, archive, limit_bytes=_FILES_BYTES)
            files = await self._parts.storage.archives.run(partial(_files, archive, path))
        mount_paths.check_apart([*self._record.files, *files])
        self._record = await self._with_files(files)
        self._process = self._parts.process(self._record)
        log.info("files uploaded", name=self._record.name, files=sorted(files))

    async def get_archive(self, path: str) -> Archive:
        """Raise NotFound: peers download nothing from chaincode."""
        raise NotFound(f"Could not find the file {path} in container {self._record.name}")

    async def start(self) -> bool:
        """
        Create the Job, and return once its process runs; False if it was started before.

        A process that is stopped meanwhile was started: `wait` tells the rest. Raises StartFailed
        with the cluster's words; no Job is left then, unless the API server refuses to delete it.
        """
        if self._is_started():
            return False
        with self._parts.settling.starting(self._process) as stopped:
            return await waiting.first(self._launch(), _stopped(stopped))

    async def _launch(self) -> bool:
        options = self._parts.options.now
        try:
            seconds = await self._carry_out(options.start_timeout_seconds)
        except StartFailed as error:
            raise launch.failed(self._record.name, error) from error
        except KubernetesError as error:
            if error.reason != "AlreadyExists":
                raise
            if await self._process.unseen_exit():  # and no watch told of it
                raise self._over() from error
            return False
        log.info("chaincode started", name=self._record.name, duration_seconds=round(seconds, 3))
        await self._parts.settling.watch(self._process, seconds=options.settle_seconds)
        return True

    async def _carry_out(self, timeout_seconds: float) -> float:
        """
        Launch it with the puller beside it; where the node does not bear that, with it before.

        An init container is waited for, whatever keeps it back for a while.
        """
        began, pods = time.monotonic(), self._parts.pods.now
        published = await self._published()
        first = await self._made(published, pods, began)
        try:
            return await self._until_running(first, timeout_seconds)
        except waiting.BegunAlone as error:
            log.warning("chaincode is launched again", name=self._record.name, cause=str(error))
        except KubernetesError as error:
            if error.reason != "AlreadyExists" or not await self._is_left_alone():
                raise
            await first.withdraw()
            raise StartFailed(f"what began without its layer is still there: {error}") from error
        with self._parts.watch.awaiting_another(self._process.key):
            await to_its_end(first.make_way())
            left_seconds = max(began + timeout_seconds - time.monotonic(), _LEAST_SECONDS)
            second = await self._made(published, replace(pods, puller_beside=False), began)
            try:
                return await self._until_running(second, left_seconds)
            except KubernetesError as error:
                if error.reason != "AlreadyExists":
                    raise
                raise StartFailed(
                    f"what was to be launched again is still there: {error}"
                ) from error

    async def _is_left_alone(self) -> bool:
        """
        Whether an earlier start failed, and left a Job whose Pod has begun without its layer.

        The API server is asked: the watch has disowned that Pod.
        """
        if self._parts.watch.awaits_another(self._process.key):
            return False  # another call of the peer launches it again just now
        job = await self._process.job()
        selected = {labels.CONTAINER: self._process.key}
        pods = await statuses.find_pods(self._parts.kubernetes, selected) if job else []
        return any(pod.has_begun_alone for pod in pods if job and pod.job == job.reference)

    async def _until_running(self, made: Launch, timeout_seconds: float) -> float:
        """Carry a launch out; which runtime image runs is noted when its node tells."""
        seconds = await made.carry_out(timeout_seconds=timeout_seconds)
        noting = note_runtime(made, told=chaincode_job.runtime_id(made.job))
        self._parts.tasks.spawn(noting, name=f"runtime of {self.id[:12]}")
        return seconds

    async def _made(self, published: PublishedImage, pods: PodOptions, began: float) -> Launch:
        job = chaincode_job.manifest(
            self._record, published.image, options=pods, reference=published.reference
        )
        job = await self._parts.account_secrets.added(job, pods)
        return Launch(
            began=began,
            kubernetes=self._parts.kubernetes,
            watch=self._parts.watch,
            tasks=self._parts.tasks,
            job=job,
            key=self._process.key,
        )

    async def stop(self) -> bool:
        """Return once the process is gone and its exit is on the record; False if none ran."""
        self._parts.settling.stop(self._process)
        end = await self._process.stop()
        if end is None:
            return False
        log.info("container stopped", name=self._record.name, exit_code=end.code)
        return True

    async def wait(self, condition: str = "") -> State:
        """Return the state once the process has ended, or at once if it was never started."""
        waits = self._parts.waits
        waits[self.id] += 1
        try:
            return await self._process.wait(condition)
        finally:
            waits[self.id] -= 1
            if not waits[self.id]:
                del waits[self.id]

    def output(self, options: OutputOptions) -> Said:
        """
        Return the Pod's log as stdout.

        Raises Unsupported for one of the two streams: a Pod's log does not tell which was which.
        """
        if options.stdout != options.stderr:
            raise Unsupported(
                "the log of a Pod does not tell stdout from stderr: ask for both of them"
            )
        return self._output(options)

    async def _output(self, options: OutputOptions) -> Said:
        if not options.stdout:
            return
        process = self._process
        if process.sighting.pod is None:  # all of it is yet to come
            options = replace(options, tail_lines=None)
        with self._parts.readers(process.key).reading():
            pod_log = PodLog(process.kubernetes, process.watch, process.key, CHAINCODE)
            if options.follow and not await process.is_over():
                seconds = self._parts.options.now.start_timeout_seconds
                await pod_log.until_there(within_seconds=seconds)
            async with aclosing(pod_log.read(options)) as chunks:
                async for chunk in chunks:
                    yield STDOUT, chunk

    async def remove(self) -> None:
        """End the process, then remove the record, and with it all that it owns."""
        await remove(self._parts, self._record)

    async def inspect(self) -> Details:
        """Return all that `docker inspect` shows; the uploaded files are not shown."""
        return Details(
            summary=summary(self._record, self._parts.watch),
            spec=self._record.spec,
        )

    async def _published(self) -> PublishedImage:
        """Return the image as it is published now, with good access to what is delivered of it."""
        published = await publisher.get(self._parts.publisher, self._record.spec.image)
        if not (published.reference or published.image.prebuilt):
            await self._renew_access(published.image)
        return published

    async def _renew_access(self, image: Image) -> None:
        """
        Give the Pod another token or CA, if those of the create are not good any more.

        The image was built anew since then, or Peitho has another version, key or CA.
        """
        record, parts = self._record, self._parts
        token = parts.token(image.layer, Holder(record.kubernetes_name, record.id))
        if (record.token, record.ca) != (token, parts.ca):
            self._record = await parts.records.give_access(record, token=token, ca=parts.ca)

    def _is_started(self) -> bool:
        """Whether the process runs. Raises Conflict if it has ended: it is never started twice."""
        if self._process.exit:
            raise self._over()
        return self._process.sighting.pod is not None

    def _over(self) -> Conflict:
        return Conflict(
            f"container {self._record.name} has ended, and is not started a second time: remove "
            "it, and create it again"
        )

    async def _with_files(self, files: dict[str, FileWithMode]) -> Record:
        try:
            return await self._parts.records.add_files(
                self._record,
                {path: file.content for path, file in files.items()},
                {path: file.mode for path, file in files.items()},
            )
        except KubernetesError as error:
            if error.reason in ("Invalid", "RequestEntityTooLarge"):
                raise InvalidArgument(f"the files do not fit into a Secret: {error}") from error
            if error.reason == "NotFound":
                raise NotFound(f"No such container: {self._record.name}") from error
            raise


async def remove(parts: ChaincodeParts, record: RecordMetadata) -> None:
    """End the process of a container, then remove its record, and with it what it owns."""
    process = parts.process(record)
    parts.settling.stop(process)
    drained = partial(parts.readers(process.key).drained, _DRAIN_SECONDS)
    await process.remove(parts.records, drained=drained)
    log.info("container removed", name=record.name)


async def _stopped(stopped: asyncio.Event) -> bool:
    await stopped.wait()
    return True


def _files(archive: Path, path: str, reading: Reading) -> dict[str, FileWithMode]:
    """Return the files of an archive, by their paths in the container."""
    with reading.open(archive) as packed:
        found = tar.read_files_with_modes(packed, limits=_FILES_LIMITS)
    return {mount_paths.of_file(f"{path}{name}"): file for name, file in found.items()}
