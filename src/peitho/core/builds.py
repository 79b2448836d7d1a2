"""
Build containers: a Pod with the builder image, and Peitho's helper beside it.

What the peer uploads is kept in spool files until the helper fetches it; what the command says and
makes comes from the helper.  Where the helper can say nothing (a kill for memory, an eviction, an
image that cannot be pulled), the Pod's status says it: whichever news is first is taken.
"""

import asyncio
import hashlib
import secrets
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from peitho import metrics
from peitho.clients.kubernetes import Kubernetes, Manifest, PodWatch
from peitho.clients.storage import Storage, spool
from peitho.core import pods
from peitho.core.clock import now
from peitho.core.container import Archive, Details, PathStat, State, Summary
from peitho.core.images import Provenance
from peitho.core.output import Output
from peitho.core.tasks import Tasks
from peitho.core.tokens import Tokens, build_scope
from peitho.errors import Conflict, InvalidArgument, NotFound, PeithoError, StartFailed, Unavailable
from peitho.formats import manifests, tar
from peitho.formats import pods as pod_status
from peitho.formats.manifests import BUILD, HELPER, ContainerSpec, PodSettings
from peitho.formats.pods import SIGKILLED, Exit
from peitho.formats.tar import Limits

log = structlog.get_logger()

# What Fabric's builds write to, whatever the platform (DockerBuildOptions since 1.0).
_OUTPUT = "/chaincode/output"
# The helper's own news is nearly always first; the Pod's status waits this long for it.
_HELPER_SECONDS = 5.0
_RESULT_SECONDS = 60.0
_DRAIN_SECONDS = 10.0
# Go's FileMode of a directory, 0755 (os.ModeDir is its top bit).
_DIRECTORY_MODE = 1 << 31 | 0o755
_SHORTEST_BEGINNING = 4
# Docker's exit code of a container whose command could not be run.
_NEVER_RAN = 125


@dataclass(frozen=True, slots=True)
class BuilderOptions:
    """What the operator decided about builds."""

    start_timeout_seconds: float
    deadline_seconds: int
    abandoned_after_seconds: float
    output_bytes: int


@dataclass(frozen=True, slots=True)
class Upload:
    """An archive as the peer sent it, and the directory it belongs to."""

    path: str
    archive: Path


class Builds:
    """The build containers of this run; a restart of Peitho ends them, and peers try again."""

    def __init__(  # noqa: PLR0913  what a build needs, given once by the composition root
        self,
        kubernetes: Kubernetes,
        watch: PodWatch,
        *,
        storage: Storage,
        provenance: Provenance,
        tokens: Tokens,
        settings: PodSettings,
        options: BuilderOptions,
        limits: Limits,
        tasks: Tasks,
    ) -> None:
        self.kubernetes = kubernetes
        self.watch = watch
        self.storage = storage
        self.provenance = provenance
        self.tokens = tokens
        self.settings = settings
        self.options = options
        self.limits = limits
        self.tasks = tasks
        self._builds: dict[str, Build] = {}

    def create(self, spec: ContainerSpec) -> "Build":
        """Create a build container; nothing is in the cluster until its start."""
        build = Build(self, secrets.token_hex(32), spec)
        self._builds[build.id] = build
        log.info("build created", build=build.id[:12], image=spec.image)
        return build

    def find(self, reference: str) -> "Build | None":
        """The build of that ID, or unique beginning of one."""
        if build := self._builds.get(reference):
            return build
        if len(reference) < _SHORTEST_BEGINNING:
            return None
        matching = [each for each in self._builds if each.startswith(reference)]
        return self._builds[matching[0]] if len(matching) == 1 else None

    def get(self, build_id: str) -> "Build":
        """The build of that ID; raises NotFound."""
        if build := self._builds.get(build_id):
            return build
        raise NotFound(f"No such build: {build_id}")

    def list(self) -> list[Summary]:
        """All of them."""
        return [each.summary() for each in self._builds.values()]

    def forget(self, build: "Build") -> None:
        """Drop a build that was removed."""
        self._builds.pop(build.id, None)

    def close(self) -> None:
        """Give back the files of all builds, at the end of the program."""
        for build in self._builds.values():
            build.close()

    async def clear_leftovers(self) -> None:
        """Drop the Pods of builds that an earlier run left in the cluster."""
        labels = manifests.own_labels(self.settings.instance) | {manifests.KIND: BUILD}
        for secret in await self.kubernetes.find_metadata("Secret", labels=labels):
            if secret["metadata"]["annotations"][manifests.ID] not in self._builds:
                name = secret["metadata"]["name"]
                await self.kubernetes.delete("Secret", name)
                await self.kubernetes.delete("Pod", name, grace_seconds=1)
                log.info("leftover build removed", secret=name)


class Build:
    """One build container."""

    def __init__(self, builds: Builds, build_id: str, spec: ContainerSpec) -> None:
        self._all = builds
        self.id = build_id
        self.spec = spec
        self.uploads: list[Upload] = []
        self._directory = builds.storage.make_spool_directory("build-")
        self._output = Output(self._directory / "output", limit_bytes=builds.options.output_bytes)
        self._created = now()
        self._began = 0.0
        self._started_at = ""
        self._state: State | None = None
        self._secret: Manifest | None = None
        self._running = asyncio.Event()
        self._ended = asyncio.Event()
        self._made = asyncio.Event()
        self._removed = asyncio.Event()
        self._waiting = 0

    @property
    def output_path(self) -> str:
        """The directory whose content is the result."""
        return _OUTPUT

    async def put_archive(self, path: str, chunks: AsyncIterator[bytes]) -> None:
        """
        Keep an archive for the Pod, once it has been read and found whole and harmless.

        Raises InvalidArgument, Conflict after the start, StorageFull.
        """
        if self._secret:
            raise Conflict("a build takes no archives after its start")
        directory = _absolute(path)
        archive = self._directory / f"upload-{len(self.uploads)}-{secrets.token_hex(4)}"
        limits = self._all.limits
        try:
            size = await spool(chunks, archive, limit_bytes=limits.total_bytes)
            entries = await asyncio.to_thread(_scan, archive, limits)
        except BaseException:
            archive.unlink(missing_ok=True)
            raise
        self.uploads.append(Upload(directory, archive))
        log.info("archive uploaded", build=self.id[:12], bytes=size, entries=entries)

    async def get_archive(self, path: str) -> Archive:
        """
        The tar that the command's output directory became.

        Raises NotFound for another path, Conflict before the end.
        """
        asked = path.removesuffix("/.").rstrip("/")
        if asked != _OUTPUT:
            raise NotFound(f"Could not find the file {path} in container {self.id}")
        if not self._ended.is_set():
            raise Conflict(f"container {self.id} has not ended: its output is not complete")
        try:
            async with asyncio.timeout(_RESULT_SECONDS):
                await self._made.wait()
        except TimeoutError:
            raise PeithoError("the build's output did not arrive from its Pod") from None
        name = "." if path.endswith("/.") else "output"
        stat = PathStat(name, size_bytes=4096, mode=_DIRECTORY_MODE, modified_at=now())
        return Archive(stat, self._directory / "result")

    async def start(self) -> bool:
        """
        Make the Pod, and return once the command runs; False if it was started before.

        Raises StartFailed with the cluster's words; the Pod is then gone.
        """
        if self._secret:
            return False
        self._began = time.monotonic()
        self._all.tasks.spawn(self._mind(), name=f"build {self.id[:12]}")
        try:
            await self._make_pod()
            await pods.first(self._running.wait(), self._until_pod_runs())
        except BaseException as error:
            self._end(Exit(_NEVER_RAN, str(error)))
            await asyncio.shield(self._drop_pod())
            raise
        self._started_at = now()
        return True

    async def stop(self) -> bool:
        """End the Pod; False if it was not running."""
        if not self._secret or self._ended.is_set():
            return False
        await self._drop_pod()
        self._end(Exit(SIGKILLED, "stopped"))
        return True

    async def wait(self) -> State:
        """
        Return once the command has ended and all its output has been read; the code is its own.

        A build that nobody waits for any more, since its peer hung up, is removed after a while.
        """
        self._waiting += 1
        try:
            await self._ended.wait()
        finally:
            self._waiting -= 1
            if not self._ended.is_set():
                self._all.tasks.spawn(self._abandon(), name=f"abandon {self.id[:12]}")
        await self._output.readers.drained(_DRAIN_SECONDS)
        return self._state or State("exited")

    def output(self, *, logs: bool, follow: bool) -> AsyncIterator[tuple[int, bytes]]:
        """What the command says, byte for byte."""
        return self._output.read(follow=follow, from_start=logs)

    async def remove(self) -> None:
        """Drop the Pod and all files."""
        self._all.forget(self)
        self._removed.set()
        self._end(Exit(SIGKILLED, "removed"))
        await self._drop_pod()
        self.close()
        shutil.rmtree(self._directory, ignore_errors=True)
        log.info("build removed", build=self.id[:12])

    def close(self) -> None:
        """Give back its files; its Pod is cleared by the next run."""
        self._output.discard()

    async def inspect(self) -> Details:
        """All that is told of it."""
        return Details(summary=self.summary(), spec=self.spec)

    def summary(self) -> Summary:
        """The build in a list."""
        running = State("running", started_at=self._started_at)
        state = self._state or (running if self._started_at else State("created"))
        return Summary(
            id=self.id,
            name=manifests.build_name(self.id),
            image=self.spec.image,
            command=" ".join(self.spec.command),
            created=self._created,
            state=state,
            kubernetes_name=manifests.build_name(self.id),
        )

    # What the helper tells.

    async def take_output(self, chunks: AsyncIterator[bytes]) -> None:
        """Keep what the command says; its first call tells that the command runs."""
        self._running.set()
        async for chunk in chunks:
            self._output.write(chunk)

    def take_exit(self, code: int) -> None:
        """The command has ended, and all its output has been taken."""
        self._end(Exit(code))

    async def take_result(self, chunks: AsyncIterator[bytes], architecture: str) -> None:
        """Keep the tar of the output directory."""
        path = self._directory / "result"
        await spool(chunks, path.with_suffix(".part"), limit_bytes=self._all.limits.total_bytes)
        path.with_suffix(".part").rename(path)
        digest = await asyncio.to_thread(_sha256, path)
        self._all.provenance.remember(digest, architecture)
        self._made.set()

    # What the cluster tells.

    async def _make_pod(self) -> None:
        everything = self._all
        secret = manifests.build_record(
            instance=everything.settings.instance,
            container_id=self.id,
            spec=self.spec,
            token=everything.tokens.issue(build_scope(self.id)),
            created=self._created,
        )
        self._secret = await everything.kubernetes.create(secret)
        pod = manifests.build_pod(
            self._secret,
            self.spec,
            settings=everything.settings,
            uploads=sorted({upload.path for upload in self.uploads}),
            output=_OUTPUT,
            deadline_seconds=everything.options.deadline_seconds,
        )
        try:
            await everything.kubernetes.create(pod)
        except Unavailable:
            raise
        except PeithoError as error:
            raise StartFailed(f"the build's Pod was refused: {error}") from error

    async def _until_pod_runs(self) -> bool:
        try:
            await pods.until_started(
                self._all.watch, self._key, BUILD, seconds=self._all.options.start_timeout_seconds
            )
            await pods.until_started(
                self._all.watch, self._key, HELPER, seconds=self._all.options.start_timeout_seconds
            )
        except StartFailed as error:
            raise StartFailed(f"the build's Pod cannot run: {error}") from error
        return True

    async def _mind(self) -> None:
        """Take the Pod's word for the end where the helper has none."""
        end = await pods.first(self._until_told(), self._until_pod_ends())
        if end:
            with suppress(TimeoutError):
                async with asyncio.timeout(_HELPER_SECONDS):
                    await self._ended.wait()
            self._end(end)

    async def _until_told(self) -> None:
        await self._ended.wait()

    async def _until_pod_ends(self) -> Exit | None:
        return await pods.first(
            pods.until_ended(self._all.watch, self._key, BUILD), self._until_helper_fails()
        )

    async def _until_helper_fails(self) -> Exit:
        end = await pods.until_ended(self._all.watch, self._key, HELPER)
        if end.code == 0:
            return await pods.until_ended(self._all.watch, self._key, BUILD)
        pod = self._all.watch.see(self._key).pod
        said = pod_status.last_words(pod, HELPER) if pod else ""
        return Exit(_NEVER_RAN, f"the helper beside the build failed: {said or end.reason}")

    def _end(self, end: Exit) -> None:
        if self._ended.is_set():
            return
        if end.reason:
            self._output.say(f"peitho: the build ended with {end.code}: {end.reason}")
        self._output.close()
        self._state = State("exited", end.code, end.reason, self._started_at, now())
        self._ended.set()
        seconds = time.monotonic() - self._began
        metrics.BUILD_SECONDS.labels("done" if end.code == 0 else "failed").observe(seconds)
        log.info(
            "build ended",
            build=self.id[:12],
            exit_code=end.code,
            reason=end.reason,
            duration_seconds=round(seconds, 3),
        )

    async def _abandon(self) -> None:
        await asyncio.sleep(self._all.options.abandoned_after_seconds)
        if not self._waiting and not self._removed.is_set():
            log.warning("build abandoned by its peer", build=self.id[:12])
            await self.remove()

    async def _drop_pod(self) -> None:
        if not self._secret:
            return
        name = manifests.build_name(self.id)
        try:
            await self._all.kubernetes.delete("Pod", name, grace_seconds=1)
            await self._all.kubernetes.delete("Secret", name)
        except PeithoError as error:
            log.warning("build pod not removed", pod=name, cause=str(error))

    @property
    def _key(self) -> str:
        return manifests.container_label(self.id)


def _absolute(path: str) -> str:
    if not path.startswith("/") or ".." in path.split("/"):
        raise InvalidArgument(f"the path {path!r} must be absolute, without `..`")
    return path.rstrip("/") or "/"


def _scan(path: Path, limits: Limits) -> int:
    with path.open("rb") as archive:
        return len(tar.scan(archive, limits=limits))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
