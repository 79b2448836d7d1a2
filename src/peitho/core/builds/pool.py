"""
The builds of this Peitho: equal ones are carried out once, for all the peers that ask for them.

An equal build that is under way is joined; one that succeeded before is answered from the cache,
log included.  A build lasts for as long as a peer needs it: when the last has gone, it is ended.
"""

import asyncio
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Collection, Coroutine, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import structlog

from peitho import metrics
from peitho.clients.disk.build_cache import LOG, RESULT, BuildCache, KeptBuild
from peitho.clients.disk.room import room
from peitho.clients.disk.storage import Storage, remove_directory, sha256
from peitho.core.builds.build import Build, BuildUpload
from peitho.core.builds.compiled import CompiledPackages, compiled_key
from peitho.core.builds.downloaded import DownloadedPackages, packages_key
from peitho.core.builds.output import BuildOutput
from peitho.core.builds.queue import FairQueue, TenantQueue
from peitho.core.builds.tail import Tail
from peitho.core.container import State
from peitho.core.images.prebuilt import PrebuiltImages
from peitho.core.images.store import BuildResults, kept_origin
from peitho.core.images.stored_bytes import StoredBytes
from peitho.core.tasks import BackgroundTasks
from peitho.errors import Conflict, NotFound, PeithoError, StartFailed
from peitho.formats.docker import go_packages
from peitho.formats.docker.build_key import build_key, is_repeatable
from peitho.formats.images import prebuilt
from peitho.formats.images.origin import NOWHERE
from peitho.formats.records import SIGKILLED, ContainerSpec, Exit
from peitho.settings.live import Live

log = structlog.get_logger()

# What is compiled ahead is untrusted source: it may be made to take long.
_AHEAD_SECONDS = 600.0
_AHEAD_BYTES = 1024**3
# Builds that are over are told of, to whoever looks in.
_REMEMBERED = 20
# The API server's word where a quota has no room for one more Pod.
_QUOTA = "exceeded quota"


@dataclass(frozen=True, slots=True)
class BuildPoolOptions:
    """
    What the operator decided about each build: how many bytes it may write and make.

    `determinants` are the settings that its outcome depends on: builds with other determinants are
    never taken for equal. With `compiles_ahead`, packages that builds have in common are compiled
    once for all; with `keeps_packages`, builds are given what others downloaded. With
    `needs_origin`, a kept build that does not tell of itself is carried out anew.
    """

    output_bytes: int
    result_bytes: int
    determinants: object = None
    compiles_ahead: bool = False
    keeps_packages: bool = False
    needs_origin: bool = False

    @property
    def decided(self) -> object:
        """What a result depends on; one made with packages of others is for who has them, too."""
        return [self.determinants, "packages"] if self.keeps_packages else self.determinants


@dataclass(frozen=True, slots=True)
class EndedBuild:
    """A build that is over, as it is remembered for a while: its state, and what it said last."""

    build: str
    image: str
    peer: str
    seconds: float
    state: State
    tail: Tail


class BuildBackend(Protocol):
    """Carries builds out, in Pods or in a Docker daemon, with options that never change."""

    async def carry_out(self, build: Build) -> None:
        """Run the build and report to it; leave nothing behind, even if cancelled."""
        ...

    async def clear_leftovers(self, known: Collection[str]) -> None:
        """Remove what earlier Peithos left, except the builds with these IDs."""
        ...


class BuildPool:
    """The builds of this Peitho; each keeps the backend and the options it began with."""

    def __init__(  # noqa: PLR0913  what a run needs, given once by the composition root
        self,
        backend: Live[BuildBackend],
        *,
        cache: BuildCache | None,
        queue: FairQueue | TenantQueue,
        storage: Storage,
        results: BuildResults,
        options: Live[BuildPoolOptions],
        tasks: BackgroundTasks,
        prebuilt_images: PrebuiltImages | None = None,
        stored_bytes: StoredBytes | None = None,
    ) -> None:
        self._stored_bytes = stored_bytes
        self._backend = backend
        self._cache = cache
        self._compiled = CompiledPackages(cache) if cache else None
        self._downloaded = DownloadedPackages(cache, stored_bytes) if cache else None
        # These do not take a turn from the builds that peers wait for.
        self._turns_ahead = asyncio.Semaphore(1)
        self._queue = queue
        self._storage = storage
        self._results = results
        self._prebuilt = prebuilt_images
        self._options = options
        self._tasks = tasks
        self._working: dict[str, asyncio.Task[None]] = {}
        self._by_id: dict[str, Build] = {}
        self._by_key: dict[str, Build] = {}
        self._open: set[Build] = set()
        self._ended: deque[EndedBuild] = deque(maxlen=_REMEMBERED)

    async def join(
        self, container_id: str, spec: ContainerSpec, uploads: list[BuildUpload], *, peer: str
    ) -> tuple[Build, str]:
        """
        Return the build that a container is to stand for, and a line for its log or an empty one.

        The line says why the build is not carried out at once: it is under way, kept, or waits.
        """
        reference = next((each.prebuilt for each in uploads if each.prebuilt), "")
        if reference and self._prebuilt:
            return await self._stand_in(container_id, spec, reference, self._prebuilt)
        # Both are of the same settings, and stay so as long as the build lasts.
        backend, options = self._backend.now, self._options.now
        trees = [(upload.path, upload.tree) for upload in uploads]
        key = build_key(spec, trees, decided=options.decided)
        is_shared = self._cache is not None and is_repeatable(spec, trees)
        if not is_shared:
            key = f"{key}-{container_id}"
        if shared := self._under_way(key, container_id):
            return shared
        if build := await self._kept(key, container_id, spec, options):
            metrics.BUILDS_SHARED.labels("reused").inc()
            log.info("build reused", build=container_id[:12])
            return build, " ---> Using cache"
        if shared := self._under_way(key, container_id):  # begun while the cache was read
            return shared
        if not all(upload.archive.exists() for upload in uploads):
            raise NotFound(f"No such container: {container_id}")  # removed in the meantime
        note = self._waits()
        build = self._new(container_id, spec, uploads, peer, options, is_shared=is_shared)
        self._begin(build, key, self._carry_out(build, key, backend))
        return build, note

    def get(self, build_id: str) -> Build:
        """Return the build of that ID while it is carried out. Raises NotFound."""
        if build := self._by_id.get(build_id):
            return build
        raise NotFound(f"No such build: {build_id}")

    def under_way(self) -> Sequence[Build]:
        """Return the builds that wait or are carried out, the oldest first."""
        return list(self._by_id.values())

    def ended(self) -> Sequence[EndedBuild]:
        """Return the builds that were carried out lately, the latest first."""
        return list(reversed(self._ended))

    async def save_result(
        self, build: Build, chunks: AsyncIterator[bytes], architecture: str
    ) -> None:
        """Save the tar of a build's output directory."""
        await build.save_result(chunks, architecture)
        if build.result:
            self._results.remember_kept(build.result)

    async def compiled(self, build: Build) -> Path | None:
        """
        Return a tar of what Go compiled before in the builder image of a build, or None.

        Whoever asks lacks it: once the build is done, that is compiled for those to come.
        """
        if self._compiled is None or not build.compiled_key:
            return None
        build.lacks_compiled = True
        return await self._compiled.give(build)

    async def packages(self, build: Build) -> Path | None:
        """Return a tar of what builds with the builder image of this one downloaded, or None."""
        if self._downloaded is None or not build.packages_key:
            return None
        return await self._downloaded.give(build)

    async def save_packages(self, build: Build, chunks: AsyncIterator[bytes]) -> None:
        """Save a tar of what a build downloaded. Raises Conflict, InvalidArgument."""
        is_done = build.result is not None and not build.has_failed
        if self._downloaded is None or not build.lacks_packages or not is_done:
            raise Conflict("what builds download is not kept")
        await self._downloaded.take(build, chunks)

    async def release(self, build: Build, container_id: str) -> None:
        """Remove a container from its build; a build without containers is ended."""
        build.remove_container(container_id)
        if build.is_used:
            return
        task = self._working.get(build.id)
        if task is None:
            await self._discard(build)
        elif build.has_failed or build.state is None or not build.is_shared:
            self._end_joining(build)
            if not build.is_ending:
                build.is_ending = True
                task.cancel()
            await build.over.wait()

    async def clear_leftovers(self) -> None:
        """Remove what earlier Peithos left behind."""
        await self._backend.now.clear_leftovers(self._by_id.keys())

    def close(self) -> None:
        """Close the files of all builds, when the program ends."""
        for build in self._open:
            build.output.close()

    def _under_way(self, key: str, container_id: str) -> tuple[Build, str] | None:
        build = self._by_key.get(key)
        if build is None or build.has_failed:
            return None
        metrics.BUILDS_SHARED.labels("joined").inc()
        log.info("build joined", build=container_id[:12], run=build.id[:12])
        return build, f"peitho: this build is under way for another peer, as {build.id[:12]}"

    async def _kept(
        self, key: str, build_id: str, spec: ContainerSpec, options: BuildPoolOptions
    ) -> Build | None:
        """Return a build that was kept; it is read whole before, so this may take a moment."""
        if self._cache is None or not self._cache.has(key):
            return None
        directory = self._storage.make_spool_directory("run-")
        kept = None
        try:
            kept = await asyncio.to_thread(self._cache.use, key, directory)
            if kept and options.needs_origin and kept_origin(kept) == NOWHERE:
                log.info("kept build does not tell of itself", build=build_id[:12])
                kept = None
        finally:
            if kept is None:
                await remove_directory(directory)
        if kept is None:
            return None
        self._results.remember_kept(kept)
        build = Build(build_id, spec, directory=directory, output=BuildOutput.kept(directory / LOG))
        build.finish_from_cache(kept)
        self._open.add(build)
        return build

    async def _stand_in(
        self, build_id: str, spec: ContainerSpec, reference: str, images: PrebuiltImages
    ) -> tuple[Build, str]:
        """Return a build that is over, and gives an image that is there already."""
        await images.require(reference)
        directory = self._storage.make_spool_directory("run-")
        with room():
            (directory / RESULT).write_bytes(prebuilt.result(reference))
            (directory / LOG).touch()
        digest = await asyncio.to_thread(sha256, directory / RESULT)
        images.remember(digest, reference)
        build = Build(build_id, spec, directory=directory, output=BuildOutput.kept(directory / LOG))
        build.finish_from_cache(KeptBuild(digest, "", spec.image, 0.0, time.time()))
        self._open.add(build)
        log.info("build stands for an image", build=build_id[:12], image=reference)
        return build, f"peitho: nothing is compiled, this is {reference}"

    def _new(  # noqa: PLR0913  what is asked for, by whom, and by which rules
        self,
        build_id: str,
        spec: ContainerSpec,
        uploads: list[BuildUpload],
        peer: str,
        options: BuildPoolOptions,
        *,
        is_shared: bool,
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
            is_shared=is_shared,
            compiled_key=self._compiled_key(spec, options) if uploads else "",
            packages_key=self._packages_key(spec, options) if uploads else "",
        )

    def _compiled_key(self, spec: ContainerSpec, options: BuildPoolOptions) -> str:
        if self._compiled is None or not options.compiles_ahead:
            return ""
        return compiled_key(spec.image, options.determinants)

    def _packages_key(self, spec: ContainerSpec, options: BuildPoolOptions) -> str:
        if self._downloaded is None or not options.keeps_packages:
            return ""
        return packages_key(spec.image, options.determinants)

    def _begin(self, build: Build, key: str, work: Coroutine[Any, Any, None]) -> None:
        self._by_id[build.id] = self._by_key[key] = build
        self._open.add(build)
        task = self._tasks.spawn(work, name=f"build {build.id[:12]}")
        task.add_done_callback(lambda _: self._forget(build))
        self._working[build.id] = task

    async def _carry_out(self, build: Build, key: str, backend: BuildBackend) -> None:
        try:
            async with self._queue.turn(build.peer):
                build.take_turn()
                with metrics.BUILDS_RUNNING.track_inprogress():
                    await self._run(build, backend)
            if build.result:  # once more: by now it is known in which image it ran
                self._results.remember_kept(build.result)
            await self._keep(build, key)
            if self._downloaded:
                await self._downloaded.keep(build)
            self._compile_ahead(build, backend)
        except PeithoError as error:
            build.fail(error)
        except Exception as error:
            build.fail(PeithoError(f"Peitho failed, see its log: {type(error).__name__}: {error}"))
            raise

    async def _run(self, build: Build, backend: BuildBackend) -> None:
        """Carry a build out; where a quota has no room, what is compiled ahead makes it."""
        try:
            await backend.carry_out(build)
        except StartFailed as error:
            if _QUOTA not in str(error) or not await self._end_ahead():
                raise
            await backend.carry_out(build)

    async def _end_ahead(self) -> bool:
        """End what is being compiled ahead; False if nothing is. It is tried again later."""
        ending = [build for build in self._by_id.values() if build.compiles_ahead]
        for build in ending:
            self._working[build.id].cancel()
        for build in ending:
            await build.over.wait()
        return bool(ending)

    def _compile_ahead(self, done: Build, backend: BuildBackend) -> None:
        """Compile what a build that is done has in common with those to come, if that is not so."""
        if self._compiled is None or done.result is None or done.has_failed:
            return
        key = done.compiled_key
        if key in self._by_key or not self._compiled.should_follow(done):
            return
        options = self._options.now
        options = replace(options, result_bytes=min(options.result_bytes, _AHEAD_BYTES))
        spec, uploads = go_packages.spec(done.spec.image), list(done.uploads)
        try:
            build = self._new(secrets.token_hex(32), spec, uploads, "", options, is_shared=True)
        except (PeithoError, OSError) as error:
            log.warning("packages not compiled ahead", image=done.spec.image, cause=str(error))
            return
        build.compiles_ahead, build.compiled_key, build.packages_key = True, key, ""
        self._begin(build, key, self._carry_out_ahead(build, done, backend, self._compiled))

    async def _carry_out_ahead(
        self, build: Build, done: Build, backend: BuildBackend, compiled: CompiledPackages
    ) -> None:
        try:
            async with self._turns_ahead, asyncio.timeout(_AHEAD_SECONDS):
                await backend.carry_out(build)
        except (PeithoError, TimeoutError) as error:
            cause = str(error) or f"it took more than {_AHEAD_SECONDS:g} s"
            build.fail(PeithoError(cause))
        else:
            compiled.note(done, succeeded=not build.has_failed)
            await self._keep(build, build.compiled_key)
        if build.has_failed and build.state:
            cause = build.state.reason or f"exit code {build.state.exit_code}"
            log.warning("packages not compiled ahead", image=build.spec.image, cause=cause)

    async def _keep(self, build: Build, key: str) -> None:
        if self._cache is None or not build.is_shared:
            return
        if build.result is None or build.has_failed:
            return
        try:
            await asyncio.to_thread(self._keep_within_limit, self._cache, key, build)
        except (PeithoError, OSError) as error:
            log.warning("build not kept", build=build.id[:12], cause=str(error))

    def _keep_within_limit(self, cache: BuildCache, key: str, build: Build) -> None:
        if self._stored_bytes:
            kept = (build.directory / LOG, build.directory / RESULT)
            self._stored_bytes.make_room(sum(file.stat().st_size for file in kept))
        if build.result:
            cache.keep(key, build.result, build.directory)

    def _forget(self, build: Build) -> None:
        """Clean up after a build that is over, or was cancelled, perhaps before its first step."""
        build.end(Exit(SIGKILLED, "stopped"))
        self._note_end(build)
        self._working.pop(build.id, None)
        self._by_id.pop(build.id, None)
        self._end_joining(build)
        discarding = f"discard {build.id[:12]}"
        if build.is_used or not self._tasks.tidy(self._discard(build), name=discarding):
            build.over.set()

    def _note_end(self, build: Build) -> None:
        """Keep for a while how a build ended; what is compiled ahead is nobody's."""
        if build.state and not build.compiles_ahead:
            seconds = time.monotonic() - build.began
            self._ended.append(
                EndedBuild(
                    build.id, build.spec.image, build.peer, seconds, build.state, build.output.tail
                )
            )

    def _end_joining(self, build: Build) -> None:
        """Make sure that no container joins the build any more."""
        self._by_key = {key: other for key, other in self._by_key.items() if other is not build}

    async def _discard(self, build: Build) -> None:
        self._open.discard(build)
        try:
            await build.discard()
        finally:
            build.over.set()

    def _waits(self) -> str:
        """Return the line for the log of a build that has to wait, or an empty one."""
        cause = self._queue.cause
        return f"peitho: {cause}; this one waits for its turn" if cause else ""


def _moved(upload: BuildUpload, directory: Path) -> BuildUpload:
    """Move an upload into the build's own directory, since its container may be removed first."""
    archive = directory / f"upload-{secrets.token_hex(4)}"
    upload.archive.rename(archive)
    return replace(upload, archive=archive)
