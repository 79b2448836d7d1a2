"""
Builds as they are carried out: equal ones once, for all the peers that ask for them.

A build is a function of its builder image, command, variables and uploaded files.  An equal one
that is under way is joined; one that succeeded before is answered from the cache, log included.
A run lasts for as long as a peer needs it: when the last has gone, it is ended.
"""

import asyncio
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog

from peitho import metrics
from peitho.clients.disk.build_cache import LOG, RESULT, BuildCache, KeptBuild
from peitho.clients.disk.storage import Storage, sha256, spool
from peitho.core.builds.output import BuildOutput
from peitho.core.builds.queue import FairQueue
from peitho.core.clock import now
from peitho.core.container import State
from peitho.core.images.store import ResultArchitectures
from peitho.core.tasks import BackgroundTasks
from peitho.errors import NotFound, PeithoError, StartFailed, StorageFull
from peitho.formats.docker import build_key
from peitho.formats.records import SIGKILLED, ContainerSpec, Exit
from peitho.settings.live import Live

log = structlog.get_logger()

# What Fabric's builds write to, whatever the platform (DockerBuildOptions since 1.0).
OUTPUT_DIRECTORY = "/chaincode/output"
# Docker's exit code of a container whose command could not be run.
NEVER_RAN = 125


@dataclass(frozen=True, slots=True)
class BuildUpload:
    """An archive as the peer sent it, the directory it belongs to, and its files' digest."""

    path: str
    archive: Path
    tree: str


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


class Build:
    """One build while it is carried out, and what it led to."""

    def __init__(  # noqa: PLR0913  what is asked for, by whom, and where it is kept
        self,
        run_id: str,
        spec: ContainerSpec,
        *,
        directory: Path,
        output: BuildOutput,
        uploads: tuple[BuildUpload, ...] = (),
        peer: str = "",
        result_bytes: int = 0,
    ) -> None:
        self.id = run_id
        self.spec = spec
        self.uploads = uploads
        self.peer = peer
        self.directory = directory
        self.output = output
        self._result_bytes = result_bytes
        self.began = time.monotonic()
        self.started_at = ""
        self.state: State | None = None
        self.result: KeptBuild | None = None
        self.over = asyncio.Event()
        self.is_ending = False
        self._failure: PeithoError | None = None
        self._decided = asyncio.Event()
        self._told = asyncio.Event()
        self._code = 0
        self._made = asyncio.Event()
        self._lack: PeithoError | None = None
        self._users: dict[str, Callable[[State], None]] = {}

    @property
    def is_used(self) -> bool:
        """Whether a peer's container still stands for it."""
        return bool(self._users)

    @property
    def has_failed(self) -> bool:
        """Whether it is over, and its command ended with another code than 0, or never ran."""
        return self.state is not None and self.state.exit_code != 0

    def add_user(self, build_id: str, ended: Callable[[State], None]) -> None:
        """A peer's container that stands for this run; `ended` is called once it has ended."""
        self._users[build_id] = ended
        if self.state:
            ended(self.state)

    def drop_user(self, build_id: str) -> None:
        """The container is gone."""
        self._users.pop(build_id, None)

    async def until_started(self) -> None:
        """Return once the command runs, or ran.  Raises StartFailed, or what kept it from that."""
        await self._decided.wait()
        if self.started_at:
            return
        if self._failure:
            raise self._failure
        raise StartFailed("the build was ended before its command ran")

    def tell_running(self) -> None:
        """The command runs."""
        self.started_at = self.started_at or now()
        self._decided.set()

    async def take_output(self, chunks: AsyncIterator[bytes]) -> None:
        """Keep what the command says; its first call tells that the command runs."""
        self.tell_running()
        async for chunk in chunks:
            self.output.write(chunk)

    def take_exit(self, code: int) -> None:
        """The command has ended, and all its output has been taken."""
        self._code = code
        self._told.set()

    async def told_exit(self) -> Exit:
        """The exit code, once it was told."""
        await self._told.wait()
        return Exit(self._code)

    async def take_result(self, chunks: AsyncIterator[bytes], architecture: str) -> None:
        """Keep the tar of the output directory."""
        path = self.directory / RESULT
        await spool(chunks, path.with_suffix(".part"), limit_bytes=self._result_bytes)
        path.with_suffix(".part").rename(path)
        digest = await asyncio.to_thread(sha256, path)
        seconds = time.monotonic() - self.began
        self.result = KeptBuild(digest, architecture, self.spec.image, seconds, time.time())
        self._made.set()

    async def until_made(self, seconds: float) -> Path:
        """The tar of the output directory.  Raises PeithoError if it does not come, or in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._made.wait()
        if self.result:
            return self.directory / RESULT
        raise self._lack or PeithoError("the build's output did not arrive")

    def lack_result(self, error: PeithoError) -> None:
        """There will be no tar of the output directory."""
        self._lack = error
        self._made.set()

    def end(self, end: Exit) -> None:
        """The build is over, for all who asked for it."""
        if self.state:
            return
        if end.reason:
            with suppress(StorageFull):  # the end is told all the same
                self.output.say(f"peitho: the build ended with {end.code}: {end.reason}")
        self.output.close()
        self.state = State("exited", end.code, end.reason, self.started_at, now())
        self._decided.set()
        seconds = time.monotonic() - self.began
        metrics.BUILD_SECONDS.labels("done" if end.code == 0 else "failed").observe(seconds)
        log.info(
            "build ended",
            build=self.id[:12],
            exit_code=end.code,
            reason=end.reason,
            duration_seconds=round(seconds, 3),
        )
        for ended in list(self._users.values()):
            ended(self.state)

    def fail(self, error: PeithoError) -> None:
        """It could not be carried out."""
        self._failure = error
        self.lack_result(error)
        self.end(Exit(NEVER_RAN, str(error)))

    def finish_from(self, kept: KeptBuild) -> None:
        """It was carried out before, with this outcome."""
        self.result = kept
        self._made.set()
        self.started_at = now()
        self._decided.set()
        self.state = State("exited", 0, "", self.started_at, self.started_at)
        self.over.set()

    def discard(self) -> None:
        """Drop all its files."""
        self.output.discard()
        shutil.rmtree(self.directory, ignore_errors=True)


class BuildBackend(Protocol):
    """Where builds are carried out, by options that stay: in Pods, or in a Docker daemon."""

    async def carry_out(self, run: Build) -> None:
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
        turns: FairQueue,
        storage: Storage,
        provenance: ResultArchitectures,
        options: Live[BuildPoolOptions],
        tasks: BackgroundTasks,
    ) -> None:
        self._backend = backend
        self._cache = cache
        self._turns = turns
        self._storage = storage
        self._provenance = provenance
        self._options = options
        self._tasks = tasks
        self._working: dict[str, asyncio.Task[None]] = {}
        self._by_id: dict[str, Build] = {}
        self._by_key: dict[str, Build] = {}
        self._open: set[Build] = set()

    def join(
        self, build_id: str, spec: ContainerSpec, uploads: list[BuildUpload], *, peer: str
    ) -> tuple[Build, str]:
        """The run for a build, and a line that says why it is not carried out now, if it is not."""
        # Of the same settings, for as long as the run lasts.
        backend, options = self._backend.now, self._options.now
        trees = [(upload.path, upload.tree) for upload in uploads]
        key = build_key.build_key(spec, trees, decided=options.determinants)
        if self._cache is None:
            key = f"{key}-{build_id}"
        if (run := self._by_key.get(key)) and not run.has_failed:
            metrics.BUILDS_SHARED.labels("joined").inc()
            log.info("build joined", build=build_id[:12], run=run.id[:12])
            return run, f"peitho: this build is under way for another peer, as {run.id[:12]}"
        if run := self._kept(key, build_id, spec):
            metrics.BUILDS_SHARED.labels("reused").inc()
            log.info("build reused", build=build_id[:12])
            return run, " ---> Using cache"
        note = self._waits()
        run = self._new(build_id, spec, uploads, peer, options)
        self._begin(run, key, backend)
        return run, note

    def get(self, run_id: str) -> Build:
        """The run of that ID, while it is carried out; raises NotFound."""
        if run := self._by_id.get(run_id):
            return run
        raise NotFound(f"No such build: {run_id}")

    async def take_result(
        self, run: Build, chunks: AsyncIterator[bytes], architecture: str
    ) -> None:
        """Keep the tar of a run's output directory."""
        await run.take_result(chunks, architecture)
        if run.result:
            self._provenance.remember(run.result.digest, run.result.architecture)

    async def release(self, run: Build, build_id: str) -> None:
        """A container is gone; a run that no other one stands for is ended, and so is its Pod."""
        run.drop_user(build_id)
        if run.is_used:
            return
        task = self._working.get(run.id)
        if task is None:
            self._discard(run)
        elif run.has_failed or run.state is None or self._cache is None:
            self._disown(run)
            if not run.is_ending:
                run.is_ending = True
                task.cancel()
            await run.over.wait()

    async def clear_leftovers(self) -> None:
        """Drop what earlier runs left behind."""
        await self._backend.now.clear_leftovers(self._by_id.keys())

    def close(self) -> None:
        """Give back the files of all runs, at the end of the program."""
        for run in self._open:
            run.output.discard()

    def _kept(self, key: str, build_id: str, spec: ContainerSpec) -> Build | None:
        if self._cache is None:
            return None
        directory = self._storage.make_spool_directory("run-")
        kept = self._cache.use(key, directory)
        if kept is None:
            shutil.rmtree(directory, ignore_errors=True)
            return None
        self._provenance.remember(kept.digest, kept.architecture)
        run = Build(build_id, spec, directory=directory, output=BuildOutput.kept(directory / LOG))
        run.finish_from(kept)
        self._open.add(run)
        return run

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

    def _begin(self, run: Build, key: str, backend: BuildBackend) -> None:
        self._by_id[run.id] = self._by_key[key] = run
        self._open.add(run)
        work = self._carry_out(run, key, backend)
        task = self._tasks.spawn(work, name=f"build {run.id[:12]}")
        task.add_done_callback(lambda _: self._forget(run))
        self._working[run.id] = task

    async def _carry_out(self, run: Build, key: str, backend: BuildBackend) -> None:
        try:
            async with self._turns.turn(run.peer):
                await backend.carry_out(run)
            await self._keep(run, key)
        except PeithoError as error:
            run.fail(error)
        except Exception as error:
            run.fail(PeithoError(f"Peitho failed, see its log: {type(error).__name__}: {error}"))
            raise

    async def _keep(self, run: Build, key: str) -> None:
        if self._cache is None or run.result is None or run.has_failed:
            return
        try:
            await asyncio.to_thread(self._cache.keep, key, run.result, run.directory)
        except (PeithoError, OSError) as error:
            log.warning("build not kept", build=run.id[:12], cause=str(error))

    def _forget(self, run: Build) -> None:
        """All is done, or it was cancelled, perhaps before its first step."""
        run.end(Exit(SIGKILLED, "stopped"))
        self._working.pop(run.id, None)
        self._by_id.pop(run.id, None)
        self._disown(run)
        run.over.set()
        if not run.is_used:
            self._discard(run)

    def _disown(self, run: Build) -> None:
        """It cannot be joined any more."""
        self._by_key = {key: each for key, each in self._by_key.items() if each is not run}

    def _discard(self, run: Build) -> None:
        self._open.discard(run)
        run.discard()

    def _waits(self) -> str:
        """What is told of a build that has to wait."""
        if not self._turns.are_taken:
            return ""
        allowed = f"builder.maxParallel allows, {self._turns.most}"
        return f"peitho: as many builds are running as {allowed}; this one waits for its turn"


def _moved(upload: BuildUpload, directory: Path) -> BuildUpload:
    """An upload in the run's own directory: the peer's container may go before the run does."""
    archive = directory / f"upload-{secrets.token_hex(4)}"
    upload.archive.rename(archive)
    return BuildUpload(upload.path, archive, upload.tree)
