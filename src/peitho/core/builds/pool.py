"""
The builds of this Peitho: equal ones are carried out once, for all the peers that ask for them.

An equal build that is under way is joined; one that succeeded before is answered from the cache,
log included.  A build lasts for as long as a peer needs it: when the last has gone, it is ended.
"""

import asyncio
import secrets
import shutil
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog

from peitho import metrics
from peitho.clients.disk.build_cache import LOG, BuildCache
from peitho.clients.disk.storage import Storage
from peitho.core.builds.build import Build, BuildUpload
from peitho.core.builds.output import BuildOutput
from peitho.core.builds.queue import FairQueue
from peitho.core.images.store import ResultArchitectures
from peitho.core.tasks import BackgroundTasks
from peitho.errors import NotFound, PeithoError
from peitho.formats.docker.build_key import build_key
from peitho.formats.records import SIGKILLED, ContainerSpec, Exit
from peitho.settings.live import Live

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class BuildPoolOptions:
    """
    What the operator decided about each build: how many bytes it may say and make.

    `determinants` are what its outcome depends on beside the build itself: of two builds with
    others, neither is answered from the other.
    """

    output_bytes: int
    result_bytes: int
    determinants: object = None


class BuildBackend(Protocol):
    """Where builds are carried out, by options that stay: in Pods, or in a Docker daemon."""

    async def carry_out(self, build: Build) -> None:
        """Run the command, tell the run of it, and leave nothing behind, also if cancelled."""
        ...

    async def clear_leftovers(self, known: Collection[str]) -> None:
        """Drop what earlier runs left, but for those of these IDs."""
        ...


class BuildPool:
    """The runs of this Peitho; each keeps the backend and the options that it began with."""

    def __init__(  # noqa: PLR0913  what a run needs, given once by the composition root
        self,
        backend: Live[BuildBackend],
        *,
        cache: BuildCache | None,
        queue: FairQueue,
        storage: Storage,
        architectures: ResultArchitectures,
        options: Live[BuildPoolOptions],
        tasks: BackgroundTasks,
    ) -> None:
        self._backend = backend
        self._cache = cache
        self._queue = queue
        self._storage = storage
        self._architectures = architectures
        self._options = options
        self._tasks = tasks
        self._working: dict[str, asyncio.Task[None]] = {}
        self._by_id: dict[str, Build] = {}
        self._by_key: dict[str, Build] = {}
        self._open: set[Build] = set()

    def join(
        self, container_id: str, spec: ContainerSpec, uploads: list[BuildUpload], *, peer: str
    ) -> tuple[Build, str]:
        """The run for a build, and a line that says why it is not carried out now, if it is not."""
        # Of the same settings, for as long as the run lasts.
        backend, options = self._backend.now, self._options.now
        trees = [(upload.path, upload.tree) for upload in uploads]
        key = build_key(spec, trees, decided=options.determinants)
        if self._cache is None:
            key = f"{key}-{container_id}"
        if (build := self._by_key.get(key)) and not build.has_failed:
            metrics.BUILDS_SHARED.labels("joined").inc()
            log.info("build joined", build=container_id[:12], run=build.id[:12])
            return build, f"peitho: this build is under way for another peer, as {build.id[:12]}"
        if build := self._kept(key, container_id, spec):
            metrics.BUILDS_SHARED.labels("reused").inc()
            log.info("build reused", build=container_id[:12])
            return build, " ---> Using cache"
        note = self._waits()
        build = self._new(container_id, spec, uploads, peer, options)
        self._begin(build, key, backend)
        return build, note

    def get(self, build_id: str) -> Build:
        """The run of that ID, while it is carried out; raises NotFound."""
        if build := self._by_id.get(build_id):
            return build
        raise NotFound(f"No such build: {build_id}")

    async def take_result(
        self, build: Build, chunks: AsyncIterator[bytes], architecture: str
    ) -> None:
        """Keep the tar of a run's output directory."""
        await build.take_result(chunks, architecture)
        if build.result:
            self._architectures.remember(build.result.digest, build.result.architecture)

    async def release(self, build: Build, container_id: str) -> None:
        """A container is gone; a run that no other one stands for is ended, and so is its Pod."""
        build.drop_user(container_id)
        if build.is_used:
            return
        task = self._working.get(build.id)
        if task is None:
            self._discard(build)
        elif build.has_failed or build.state is None or self._cache is None:
            self._disown(build)
            if not build.is_ending:
                build.is_ending = True
                task.cancel()
            await build.over.wait()

    async def clear_leftovers(self) -> None:
        """Drop what earlier runs left behind."""
        await self._backend.now.clear_leftovers(self._by_id.keys())

    def close(self) -> None:
        """Give back the files of all runs, at the end of the program."""
        for build in self._open:
            build.output.discard()

    def _kept(self, key: str, build_id: str, spec: ContainerSpec) -> Build | None:
        if self._cache is None:
            return None
        directory = self._storage.make_spool_directory("run-")
        kept = self._cache.use(key, directory)
        if kept is None:
            shutil.rmtree(directory, ignore_errors=True)
            return None
        self._architectures.remember(kept.digest, kept.architecture)
        build = Build(build_id, spec, directory=directory, output=BuildOutput.kept(directory / LOG))
        build.finish_from(kept)
        self._open.add(build)
        return build

    def _new(
        self,
        build_id: str,
        spec: ContainerSpec,
        uploads: list[BuildUpload],
        peer: str,
        options: BuildPoolOptions,
    ) -> Build:
        directory = self._storage.make_spool_directory("run-")
        output = BuildOutput.create(directory / LOG, limit_bytes=options.output_bytes)
        return Build(
            build_id,
            spec,
            directory=directory,
            output=output,
            uploads=tuple(_moved(upload, directory) for upload in uploads),
            peer=peer,
            result_bytes=options.result_bytes,
        )

    def _begin(self, build: Build, key: str, backend: BuildBackend) -> None:
        self._by_id[build.id] = self._by_key[key] = build
        self._open.add(build)
        work = self._carry_out(build, key, backend)
        task = self._tasks.spawn(work, name=f"build {build.id[:12]}")
        task.add_done_callback(lambda _: self._forget(build))
        self._working[build.id] = task

    async def _carry_out(self, build: Build, key: str, backend: BuildBackend) -> None:
        try:
            async with self._queue.turn(build.peer):
                await backend.carry_out(build)
            await self._keep(build, key)
        except PeithoError as error:
            build.fail(error)
        except Exception as error:
            build.fail(PeithoError(f"Peitho failed, see its log: {type(error).__name__}: {error}"))
            raise

    async def _keep(self, build: Build, key: str) -> None:
        if self._cache is None or build.result is None or build.has_failed:
            return
        try:
            await asyncio.to_thread(self._cache.keep, key, build.result, build.directory)
        except (PeithoError, OSError) as error:
            log.warning("build not kept", build=build.id[:12], cause=str(error))

    def _forget(self, build: Build) -> None:
        """All is done, or it was cancelled, perhaps before its first step."""
        build.end(Exit(SIGKILLED, "stopped"))
        self._working.pop(build.id, None)
        self._by_id.pop(build.id, None)
        self._disown(build)
        build.over.set()
        if not build.is_used:
            self._discard(build)

    def _disown(self, build: Build) -> None:
        """It cannot be joined any more."""
        self._by_key = {key: other for key, other in self._by_key.items() if other is not build}

    def _discard(self, build: Build) -> None:
        self._open.discard(build)
        build.discard()

    def _waits(self) -> str:
        """What is told of a build that has to wait."""
        if not self._queue.are_taken:
            return ""
        allowed = f"builder.maxParallel allows, {self._queue.most}"
        return f"peitho: as many builds are running as {allowed}; this one waits for its turn"


def _moved(upload: BuildUpload, directory: Path) -> BuildUpload:
    """An upload in the run's own directory: the peer's container may go before the run does."""
    archive = directory / f"upload-{secrets.token_hex(4)}"
    upload.archive.rename(archive)
    return BuildUpload(upload.path, archive, upload.tree)
