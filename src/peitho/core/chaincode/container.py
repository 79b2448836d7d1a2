"""
Chaincode containers: a Secret is the created one, a Job that it owns the started one.

All state is in the cluster, so a restart of Peitho loses nothing.  Nothing here restarts a
process: a peer launches what has ended by itself, and loses track of what comes back (DESIGN 5).
"""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

import structlog

from peitho import metrics
from peitho.clients.disk.storage import Storage, spool
from peitho.clients.kubernetes.api import Kubernetes, KubernetesError, Manifest
from peitho.clients.kubernetes.pod_watch import PodWatch
from peitho.core.chaincode.logs import PodLog
from peitho.core.chaincode.process import ChaincodeProcess, summary
from peitho.core.chaincode.settling import Settling
from peitho.core.chaincode.vanished import unseen_end
from peitho.core.clock import now
from peitho.core.container import Archive, Details, Said, State, Summary
from peitho.core.images.publisher import Publisher, get
from peitho.core.pods import waiting
from peitho.core.pods.tokens import DeliveryTokens, blob_scope
from peitho.core.readers import Readers
from peitho.core.tasks import BackgroundTasks
from peitho.errors import (
    Conflict,
    InvalidArgument,
    NotFound,
    PeithoError,
    StartFailed,
    Unavailable,
)
from peitho.formats import tar
from peitho.formats.docker.streams import STDOUT
from peitho.formats.kubernetes import manifests, names, records
from peitho.formats.kubernetes.manifests import PodOptions
from peitho.formats.kubernetes.pod_status import SIGKILLED, Exit
from peitho.formats.kubernetes.records import CHAINCODE, ContainerSpec
from peitho.formats.tar import ArchiveLimits

log = structlog.get_logger()

# A Secret holds 1 MiB, base64 and all; the peers' files have 5 KiB.
_FILES_BYTES = 512 * 1024
_STOP_GRACE_SECONDS = 1
_STOP_SECONDS = 60.0
_ID_CHARACTERS = 64
_SYNC_SECONDS = 5.0
# The log of an ended container follows its end within this (the kubelet looks once a second).
_DRAIN_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class ChaincodeOptions:
    """What the operator decided about launches."""

    start_timeout_seconds: float
    settle_seconds: float


class ChaincodeContainers:
    """
    The chaincode containers of one namespace.

    Settings and options may be replaced: calls that come later go by them.
    """

    def __init__(  # noqa: PLR0913  what a chaincode needs, given once by the composition root
        self,
        kubernetes: Kubernetes,
        watch: PodWatch,
        publisher: Publisher,
        *,
        storage: Storage,
        tokens: DeliveryTokens,
        settings: PodOptions,
        options: ChaincodeOptions,
        tasks: BackgroundTasks,
    ) -> None:
        self.kubernetes = kubernetes
        self.watch = watch
        self.publisher = publisher
        self.storage = storage
        self.settings = settings
        self.options = options
        self.tasks = tasks
        self.waits: Counter[str] = Counter()
        self.settling = Settling()
        self._tokens = tokens
        self._readers: dict[str, Readers] = {}

    async def create(self, name: str, spec: ContainerSpec) -> "ChaincodeContainer":
        """
        Create a chaincode container.

        Raises NotFound for the image, Conflict for the name, Unavailable.
        """
        image = (await get(self.publisher, spec.image)).image
        secret = records.chaincode_record(
            instance=self.settings.instance,
            container_id=secrets.token_hex(_ID_CHARACTERS // 2),
            name=name,
            spec=spec,
            token=self._tokens.issue(blob_scope(image.layer)),
            created=now(),
        )
        try:
            created = await self.kubernetes.create(secret)
        except KubernetesError as error:
            if error.reason == "AlreadyExists":
                raise await self._name_in_use(name) from error
            raise
        chaincode = ChaincodeContainer(self, created)
        log.info("container created", name=name, secret=created["metadata"]["name"])
        return chaincode

    async def find(self, reference: str) -> "ChaincodeContainer | None":
        """
        The container of that name, ID, or unique beginning of an ID.

        Raises Unavailable, also until the cluster has told once which Pods there are.
        """
        await self.synced()
        secret = await self.kubernetes.get("Secret", names.kubernetes_name("cc", reference))
        if secret and secret["metadata"].get("annotations", {}).get(records.NAME) == reference:
            return ChaincodeContainer(self, secret)
        if set(reference) <= set("0123456789abcdef"):
            return await self._find_by_id(reference)
        return None

    def of(self, secret: Manifest) -> "ChaincodeContainer":
        """The container that a Secret is; its metadata suffice to remove it."""
        return ChaincodeContainer(self, secret)

    async def list(self) -> list[Summary]:
        """All of them; what their Secrets hold is not read for it."""
        found = await self.kubernetes.find_metadata("Secret", labels=self._labels())
        return [summary(each, self.watch) for each in found]

    def readers(self, key: str) -> Readers:
        """Who reads a container's output at the moment."""
        idle = [each for each, readers in self._readers.items() if readers.are_none]
        for each in idle:
            del self._readers[each]
        return self._readers.setdefault(key, Readers())

    async def synced(self) -> None:
        """Return once it is known which Pods there are.  Raises Unavailable."""
        try:
            async with asyncio.timeout(_SYNC_SECONDS):
                await self.watch.synced.wait()
        except TimeoutError:
            raise Unavailable(
                "The Kubernetes API cannot be reached: it has not told yet which Pods there are"
            ) from None

    async def _find_by_id(self, beginning: str) -> "ChaincodeContainer | None":
        found = await self.kubernetes.find_metadata("Secret", labels=self._labels())
        matching = [
            each["metadata"]["name"]
            for each in found
            if each["metadata"]["annotations"][records.ID].startswith(beginning)
        ]
        if len(matching) != 1:
            return None
        secret = await self.kubernetes.get("Secret", matching[0])
        return ChaincodeContainer(self, secret) if secret else None

    async def _name_in_use(self, name: str) -> Conflict:
        other = await self.find(name)
        return Conflict(
            f'Conflict. The container name "/{name}" is already in use by container '
            f'"{other.id if other else "unknown"}". You have to remove (or rename) that container '
            "to be able to reuse that name."
        )

    def _labels(self) -> dict[str, str]:
        return records.kind_labels(self.settings.instance, CHAINCODE)


class ChaincodeContainer:
    """One chaincode container, as its Secret was when it was looked up."""

    def __init__(self, chaincodes: ChaincodeContainers, secret: Manifest) -> None:
        self._all = chaincodes
        self._kubernetes = chaincodes.kubernetes
        self._watch = chaincodes.watch
        self._options = chaincodes.options
        self._secret = secret
        self._process = ChaincodeProcess(chaincodes.kubernetes, chaincodes.watch, secret)

    @property
    def id(self) -> str:
        """64 hexadecimal digits."""
        return str(self._secret["metadata"]["annotations"][records.ID])

    @property
    def _name(self) -> str:
        return str(self._secret["metadata"]["annotations"][records.NAME])

    async def put_archive(self, path: str, chunks: AsyncIterator[bytes]) -> None:
        """
        Keep the files of an archive in the Secret; they are mounted where they were put.

        Raises InvalidArgument for an archive that is broken, hostile or larger than 512 KiB.
        """
        with self._all.storage.spool_directory("files-") as directory:
            archive = directory / "archive"
            await spool(chunks, archive, limit_bytes=_FILES_BYTES)
            with archive.open("rb") as file:
                found = tar.read_files(file, limits=ArchiveLimits(total_bytes=_FILES_BYTES))
        base = path.rstrip("/")
        files = {f"{base}/{name.lstrip('/')}": content for name, content in found.items()}
        await self._add_files(files)
        log.info("files uploaded", name=self._name, files=sorted(files))

    async def get_archive(self, path: str) -> Archive:
        """Peers download nothing from chaincode; raises NotFound."""
        raise NotFound(f"Could not find the file {path} in container {self._name}")

    async def start(self) -> bool:
        """
        Make the Job, and return once its process runs; False if it was started before.

        Raises StartFailed with the cluster's words; the Job is then gone.
        """
        if self._is_started():
            return False
        began = time.monotonic()
        found = await get(self._all.publisher, records.spec_of(self._secret).image)
        job = manifests.chaincode_job(
            self._secret, found.image, settings=self._all.settings, reference=found.reference
        )
        try:
            await self._kubernetes.create(job)
        except KubernetesError as error:
            if error.reason != "AlreadyExists":
                raise
            await self._check_not_over()
            return False
        try:
            await self._until_running(job)
        except BaseException as error:
            # Whoever breaks the start off, and were it the end of Peitho, waits for this.
            withdrawing = self._withdraw(job)
            await asyncio.shield(self._all.tasks.finish(withdrawing, name="withdrawal of a Job"))
            metrics.START_SECONDS.labels("failed").observe(time.monotonic() - began)
            if isinstance(error, StartFailed):
                raise StartFailed(f"cannot start container {self._name}: {error}") from error
            raise
        seconds = time.monotonic() - began
        metrics.START_SECONDS.labels("started").observe(seconds)
        log.info("chaincode started", name=self._name, duration_seconds=round(seconds, 3))
        await self._all.settling.watch(self._process, seconds=self._options.settle_seconds)
        return True

    async def stop(self) -> bool:
        """Return once the process is gone, its exit code on the record; False if none ran."""
        if self._process.end:
            return False
        if not self._process.sighting.pod:
            job = await self._process.job()
            if job is None:
                return False
            if end := await unseen_end(self._kubernetes, job, self._secret):
                await self._process.note(end)
                return False
        end = await self._end()
        await self._process.note(end)
        log.info("container stopped", name=self._name, exit_code=end.code)
        return True

    async def wait(self, condition: str = "") -> State:
        """Return once the process has ended, or if it was never started; the code is its own."""
        self._all.waits[self.id] += 1
        try:
            return await self._process.wait(condition)
        finally:
            self._all.waits[self.id] -= 1
            if not self._all.waits[self.id]:
                del self._all.waits[self.id]

    async def output(self, *, logs: bool, follow: bool) -> Said:
        """The Pod's log, which does not tell stderr from stdout: all of it is stdout."""
        from_start = logs or self._process.sighting.pod is None
        with self._all.readers(self._process.key).reading():
            log = PodLog(self._kubernetes, self._watch, self._process.key, CHAINCODE)
            if follow and not await self._is_over():
                await log.until_there(within_seconds=self._options.start_timeout_seconds)
            async with aclosing(log.read(follow=follow, from_start=from_start)) as chunks:
                async for chunk in chunks:
                    yield STDOUT, chunk

    async def remove(self) -> None:
        """The process is gone, then the Secret, and with it what it owns."""
        sighting = self._process.sighting
        started = bool(sighting.pod) or await self._process.job() is not None
        if started and not waiting.end_of(sighting, CHAINCODE):
            await self._end()
        # With the Pod goes its log: whoever still reads the last of it is given a moment.
        await self._all.readers(self._process.key).drained(_DRAIN_SECONDS)
        metadata = self._secret["metadata"]
        await self._kubernetes.delete("Secret", metadata["name"], uid=metadata["uid"])
        await self._kubernetes.delete("Job", manifests.job_name(self._secret))
        log.info("container removed", name=self._name)

    async def inspect(self) -> Details:
        """All that is told of it; the files in its Secret are not."""
        return Details(
            summary=summary(self._secret, self._watch),
            spec=records.spec_of(self._secret),
            labels=self._secret["metadata"]["labels"],
        )

    async def _until_running(self, job: Manifest) -> None:
        """The Pod is told of by its status, or, where there is none, by what keeps it away."""

        async def running() -> None:
            seconds = self._options.start_timeout_seconds
            await waiting.until_started(self._watch, self._process.key, CHAINCODE, seconds=seconds)

        async def explained() -> None:
            await waiting.explain_no_pod(self._kubernetes, self._watch, self._process.key, job)
            await asyncio.Event().wait()

        await waiting.first(running(), explained())

    async def _withdraw(self, job: Manifest) -> None:
        try:
            await self._kubernetes.delete("Job", job["metadata"]["name"])
        except PeithoError as error:
            log.warning("job not withdrawn", job=job["metadata"]["name"], cause=str(error))

    def _is_started(self) -> bool:
        """Whether the process runs; raises Conflict if it has ended, for it never comes back."""
        if self._process.end:
            raise self._over()
        return self._process.sighting.pod is not None

    async def _check_not_over(self) -> None:
        """Raise Conflict if it was started and has ended, and no watch told of it."""
        if await self._process.unseen_end():
            raise self._over()

    async def _is_over(self) -> bool:
        """Whether no Pod of it will be told of any more."""
        process = self._process
        return bool(process.end or (not process.sighting.pod and await process.unseen_end()))

    def _over(self) -> Conflict:
        return Conflict(
            f"container {self._name} has ended, and is not started a second time: remove it, "
            "and create it again"
        )

    async def _end(self) -> Exit:
        """Delete the Job, so that no Pod comes any more, and its Pod; return when it is over."""
        self._all.settling.stop(self._process)
        pod = self._process.sighting.pod
        await self._kubernetes.delete("Job", manifests.job_name(self._secret))
        label = {records.CONTAINER: self._process.key}
        found = [pod] if pod else await self._kubernetes.find("Pod", labels=label)
        for each in found:
            name = each["metadata"]["name"]
            await self._kubernetes.delete("Pod", name, grace_seconds=_STOP_GRACE_SECONDS)
        if not found:
            return Exit(SIGKILLED, "stopped before its Pod was made")
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                return await waiting.first(
                    waiting.until_ended(self._watch, self._process.key, CHAINCODE),
                    waiting.until_none(self._kubernetes, label),
                )
        except TimeoutError:
            raise PeithoError(
                f"container {self._name} is still running {_STOP_SECONDS:g} s after its Pod was "
                "deleted; its node may be down"
            ) from None

    async def _add_files(self, files: dict[str, bytes]) -> None:
        name = self._secret["metadata"]["name"]
        try:
            patch = records.files_patch(self._secret, files)
            self._secret = await self._kubernetes.patch("Secret", name, patch)
        except KubernetesError as error:
            if error.reason in ("Invalid", "RequestEntityTooLarge"):
                raise InvalidArgument(f"the files do not fit into a Secret: {error}") from error
            if error.reason == "NotFound":
                raise NotFound(f"No such container: {self._name}") from error
            raise
