"""
Build containers as peers see them: created without a name, and each used for one build.

Equal ones stand for the same `Build` of the pool. An uploaded archive is kept in a spool file, and
is checked whole before it is used.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import structlog

from peitho import audit
from peitho.clients.disk import archive_reading
from peitho.clients.disk.archive_reading import Reading
from peitho.clients.disk.storage import Storage, remove_directory, spool
from peitho.core.builds.attendance import Attendance
from peitho.core.builds.build import OUTPUT_DIRECTORY, Build, BuildUpload
from peitho.core.builds.pool import BuildPool
from peitho.core.clock import now
from peitho.core.container import Archive, Details, OutputOptions, PathStat, Said, State, Summary
from peitho.core.readers import Readers
from peitho.core.tasks import BackgroundTasks
from peitho.errors import (
    Conflict,
    InvalidArgument,
    NotFound,
    PeithoError,
    Unavailable,
    Unsupported,
)
from peitho.formats import tar
from peitho.formats.bounded_dict import BoundedDict
from peitho.formats.docker import build_key
from peitho.formats.docker.streams import STDERR
from peitho.formats.images import origin, prebuilt
from peitho.formats.kubernetes import mount_paths, names
from peitho.formats.records import SIGKILLED, ContainerSpec
from peitho.formats.tar import ArchiveLimits
from peitho.settings.live import Live

log = structlog.get_logger()

# What a peer creates it starts within seconds, and what has ended it removes.
_LEFT_SECONDS = 600.0
_LEFT_ENDED_SECONDS = 1800.0
_LOOK_SECONDS = 60.0
# A peer takes less between two of its calls.
_BETWEEN_CALLS_SECONDS = 10.0
# Several peers may share an address; each has two or three at a time.
_MOST_OF_ADDRESS = 250
_MOST = 1000
_MOST_UPLOADS = 100
# An address may have as many of the largest archives at once.
_ARCHIVES_OF_ADDRESS = 2
_BYTES_OF_ADDRESS = 1024**3
_RESULT_SECONDS = 60.0
_DRAIN_SECONDS = 10.0
# Go's FileMode of a directory, 0755 (os.ModeDir is its top bit).
_DIRECTORY_MODE = 1 << 31 | 0o755
_SHORTEST_BEGINNING = 4
# Of so many archives it is remembered what they are, unless that is long.
_LOOKED_THROUGH = 200
_MOST_LOCKS = 50


class _TooMany(Unavailable):
    """The caller has as many builds, or bytes of uploads, as it may have at once."""

    refused = "limit"


@dataclass(frozen=True, slots=True)
class BuildContainerOptions:
    """What the operator decided about build containers."""

    abandoned_after_seconds: float
    archive: ArchiveLimits


class BuildContainers:
    """The build containers of this Peitho. A restart ends them, and peers build again."""

    def __init__(
        self,
        pool: BuildPool,
        *,
        storage: Storage,
        options: Live[BuildContainerOptions],
        tasks: BackgroundTasks,
    ) -> None:
        self.pool = pool
        self.storage = storage
        self.options = options
        self.tasks = tasks
        self._builds: dict[str, BuildContainer] = {}
        self._uploaded_bytes: Counter[str] = Counter()
        self._looked_through: BoundedDict[
            tuple[str, ArchiveLimits, str], tuple[BuildUpload, int]
        ] = BoundedDict(_LOOKED_THROUGH)

    async def run(self) -> None:
        """Remove what its peer has left behind, for ever."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            for build in [build for build in self._builds.values() if build.is_left()]:
                self._let_go(build)

    def create(self, spec: ContainerSpec, *, peer: str = "") -> "BuildContainer":
        """
        Create a build container for the peer at an address; the cluster has none of it yet.

        The one that its peer has left alone for longest goes if there are too many. Raises
        Unavailable if none was left alone.
        """
        self._make_room(list(self._builds.values()), _MOST, "all peers have")
        own = [build for build in self._builds.values() if build.peer == peer]
        self._make_room(own, _MOST_OF_ADDRESS, f"the peers at {peer} have")
        build = BuildContainer(self, secrets.token_hex(32), spec, peer=peer)
        self._builds[build.id] = build
        log.info("build created", build=build.id[:12], image=spec.image)
        return build

    def find(self, reference: str) -> "BuildContainer | None":
        """Find the build container of that ID, or of a unique beginning of an ID."""
        if build := self._builds.get(reference):
            return build
        if len(reference) < _SHORTEST_BEGINNING:
            return None
        matching = [
            container_id for container_id in self._builds if container_id.startswith(reference)
        ]
        return self._builds[matching[0]] if len(matching) == 1 else None

    def list(self) -> list[Summary]:
        """List all build containers."""
        return [container.summary() for container in self._builds.values()]

    def forget(self, build: "BuildContainer") -> None:
        """Remove a build container from the list."""
        if self._builds.pop(build.id, None):
            self.count_bytes(build.peer, -build.uploaded_bytes)

    async def look_through(
        self, archive: Path, directory: str, limits: ArchiveLimits, import_path: str
    ) -> tuple[BuildUpload, int]:
        """
        Return what an archive is for a build of that import path, and how many entries it has.

        The peers of an organization send the same bytes, which are looked through once.
        """
        run = self.storage.archives.run
        digest = await run(partial(archive_reading.digest, archive))
        known = self._looked_through.get((digest, limits, import_path))
        if known is None:
            known = await run(partial(_scan, archive, digest, limits, import_path))
            if len(known[0].locks) <= _MOST_LOCKS:
                self._looked_through[digest, limits, import_path] = known
        upload, entries = known
        return replace(upload, path=directory, archive=archive), entries

    def count_bytes(self, peer: str, size: int) -> None:
        """Count bytes that peers at an address have uploaded. Raises Unavailable past the limit."""
        self._uploaded_bytes[peer] += size
        largest_bytes = self.options.now.archive.total_bytes
        limit_bytes = max(_ARCHIVES_OF_ADDRESS * largest_bytes, _BYTES_OF_ADDRESS)
        if size > 0 and self._uploaded_bytes[peer] > limit_bytes:
            raise _TooMany(
                f"the builds of the peers at {peer} have more than {limit_bytes} bytes of uploads "
                "together: remove those that are not needed any more"
            )
        self._uploaded_bytes += Counter()  # without those that have none

    def _make_room(self, builds: Sequence["BuildContainer"], most: int, whose: str) -> None:
        if len(builds) < most:
            return
        longest = max(builds, key=lambda build: build.left_seconds())
        if longest.left_seconds() < _BETWEEN_CALLS_SECONDS:
            raise _TooMany(f"{whose} {len(builds)} builds that are not over: try again later")
        self._let_go(longest)

    def _let_go(self, build: "BuildContainer") -> None:
        log.warning("build left by its peer", build=build.id[:12])
        self.forget(build)
        self.tasks.spawn(build.remove(), name=f"remove {build.id[:12]}")


class BuildContainer:
    """One build container."""

    def __init__(
        self, builds: BuildContainers, build_id: str, spec: ContainerSpec, *, peer: str
    ) -> None:
        self._all = builds
        self.id = build_id
        self.spec = spec
        self.peer = peer
        self._upload_bytes: Counter[Path] = Counter()
        self._attendance = Attendance()
        self._creator = audit.caller()
        self._directory = builds.storage.make_spool_directory("build-")
        self._uploads: list[BuildUpload] = []
        self._created = now()
        self._build: Build | None = None
        self._is_joining = False
        self._note = ""
        self._state: State | None = None
        self._readers = Readers()
        self._begun = asyncio.Event()
        self._ended = asyncio.Event()
        self._removed = asyncio.Event()
        self._waiting = 0

    async def put_archive(self, path: str, chunks: AsyncIterator[bytes]) -> None:
        """
        Keep an archive for the build, after it has been read to its end and checked.

        Raises InvalidArgument for a bad archive or path, Conflict after the start, StorageFull.
        """
        with self._attendance.call():
            await self._put_archive(path, chunks)

    async def _put_archive(self, path: str, chunks: AsyncIterator[bytes]) -> None:
        if self._build or self._is_joining:
            raise Conflict("a build takes no archives after its start")
        if len(self._uploads) >= _MOST_UPLOADS:
            raise InvalidArgument(f"a build takes {_MOST_UPLOADS} archives at most")
        directory = mount_paths.of_directory(path)
        archive = self._directory / f"upload-{secrets.token_hex(4)}"
        limits = self._all.options.now.archive
        try:
            body = self._counted(chunks, archive)
            size = await spool(body, archive, limit_bytes=limits.total_bytes)
            upload, entries = await self._all.look_through(
                archive, directory, limits, prebuilt.import_path(self.spec.command)
            )
            self._check_not_removed()
        except BaseException as error:
            self._count_bytes(archive, -self._upload_bytes[archive])
            archive.unlink(missing_ok=True)
            if isinstance(error, PeithoError):
                self._check_not_removed()  # its directory went with it, and is not missed
            raise
        self._uploads.append(upload)
        log.info("archive uploaded", build=self.id[:12], bytes=size, entries=entries)

    async def _counted(self, chunks: AsyncIterator[bytes], archive: Path) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            self._check_not_removed()
            self._count_bytes(archive, len(chunk))
            yield chunk

    def _count_bytes(self, archive: Path, size: int) -> None:
        if not self._removed.is_set():  # else all of them were given back
            self._upload_bytes[archive] += size
            self._all.count_bytes(self.peer, size)

    def _check_not_removed(self) -> None:
        if self._removed.is_set():
            raise NotFound(f"No such container: {self.id}")

    async def get_archive(self, path: str) -> Archive:
        """
        Return the tar of the output directory.

        Raises NotFound for any other path, Conflict before the build has ended, PeithoError if the
        tar is damaged.
        """
        with self._attendance.call():
            return await self._get_archive(path)

    async def _get_archive(self, path: str) -> Archive:
        asked = path.removesuffix("/.").rstrip("/")
        if asked != OUTPUT_DIRECTORY:
            raise NotFound(f"Could not find the file {path} in container {self.id}")
        if self._build is None or not self._ended.is_set():
            raise Conflict(f"container {self.id} has not ended: its output is not complete")
        file = await self._build.until_result(_RESULT_SECONDS)
        await self._verify(file, self._build)
        name = "." if path.endswith("/.") else "output"
        stat = PathStat(name, size_bytes=4096, mode=_DIRECTORY_MODE, modified_at=now())
        return Archive(stat, file)

    async def _verify(self, file: Path, build: Build) -> None:
        """Read a result whole before it is handed over. Raises PeithoError if it is damaged."""
        digest = build.result.digest if build.result else ""
        if cause := await asyncio.to_thread(self._all.storage.damage, file, digest):
            raise PeithoError(
                f"the build's output was damaged on the disk ({cause}): install again"
            )

    async def start(self) -> bool:
        """
        Return once the command runs, or an equal build has run before; False if already started.

        Raises StartFailed with the cluster's words; no Pod is left then.
        """
        if self._build or self._is_joining or self._removed.is_set():
            return False
        try:
            with self._attendance.call():
                build = await self._join()
                await build.until_started()
        except asyncio.CancelledError:  # the peer hung up
            self._all.tasks.spawn(self._abandon(), name=f"abandon {self.id[:12]}")
            raise
        return True

    async def _join(self) -> Build:
        """Let this container stand for a build of the pool."""
        self._is_joining = True
        try:
            build, note = await self._all.pool.join(
                self.id, self.spec, self._uploads, peer=self.peer
            )
        finally:
            self._is_joining = False
        self._build, self._note = build, note
        build.add_container(self.id, self._end)
        self._begun.set()
        if self._removed.is_set():  # while a kept build was read
            await self._all.pool.release(build, self.id)
        return build

    async def stop(self) -> bool:
        """End this container, and its build if no other stands for it; False if it had ended."""
        if not self._build or self._ended.is_set():
            return False
        self._end(_killed("stopped", self._build.started_at))
        await self._all.pool.release(self._build, self.id)
        return True

    async def wait(self, condition: str = "") -> State:
        """
        Return the state once the command has ended and its output has been read to the end.

        If the peer hangs up and nobody else waits, the container is removed after a while.
        """
        self._waiting += 1
        try:
            with self._attendance.call():
                await self._ended.wait()
        finally:
            self._waiting -= 1
            if not self._ended.is_set():
                self._all.tasks.spawn(self._abandon(), name=f"abandon {self.id[:12]}")
        await self._readers.drained(_DRAIN_SECONDS)
        if condition == "removed":
            await self._removed.wait()
        return self._state or State("exited")

    def output(self, options: OutputOptions) -> Said:
        """
        Return what the command writes, byte for byte.

        Raises Unsupported where times count: nobody notes when a build writes what.
        """
        if options.are_timed:
            raise Unsupported(
                "the output of a build has no times: since, until and timestamps are not part of "
                "what Peitho does for one"
            )
        return self._output(options)

    async def _output(self, options: OutputOptions) -> Said:
        with self._readers.reading(), self._attendance.call():
            if self._build is None:  # all of it is yet to come
                options = replace(options, tail_lines=None)
            if options.follow:
                await self._begun.wait()
            if self._build is None:
                return
            # The peer parses the answer of its probe (`go version`), so nothing is added to it.
            if self._note and self.uploads and options.tail_lines is None and options.stderr:
                yield STDERR, f"{self._note}\n".encode()
            async for message in self._build.output.read(options, stopped=self._is_over):
                yield message

    async def remove(self) -> None:
        """Remove the container and its files, and its build if no other container stands for it."""
        self._all.forget(self)
        self._removed.set()
        self._end(_killed("removed", self._build.started_at if self._build else ""))
        self._begun.set()
        try:
            if self._build:
                await self._all.pool.release(self._build, self.id)
        finally:  # the peer may hang up before the build has ended
            await remove_directory(self._directory)
            log.info("build removed", build=self.id[:12])

    async def inspect(self) -> Details:
        """Return all that `docker inspect` shows."""
        return Details(summary=self.summary(), spec=self.spec)

    def summary(self) -> Summary:
        """Return the container's entry in a list."""
        began = self._build.started_at if self._build else ""
        running = State("running", started_at=began)
        state = self._state or (running if began else State("created"))
        return Summary(
            id=self.id,
            name=names.build_name(self.id),
            image=self.spec.image,
            command=" ".join(self.spec.command),
            created=self._created,
            state=state,
            kubernetes_name=names.build_name(self._build.id if self._build else self.id),
            labels=self.spec.labels,
        )

    @property
    def uploaded_bytes(self) -> int:
        """How much room its uploads take."""
        return self._upload_bytes.total()

    @property
    def uploads(self) -> list[BuildUpload]:
        """The archives that the peer has uploaded so far."""
        return self._uploads

    def left_seconds(self) -> float:
        """For how long nobody has attended to it; 0 while it runs, whether or not anybody does."""
        return 0.0 if self._is_running() else self._attendance.quiet_seconds

    def is_left(self) -> bool:
        """Whether its peer has left it behind."""
        limit_seconds = _LEFT_ENDED_SECONDS if self._ended.is_set() else _LEFT_SECONDS
        return self.left_seconds() > limit_seconds

    def _is_running(self) -> bool:
        return (self._is_joining or self._build is not None) and not self._ended.is_set()

    def _end(self, state: State) -> None:
        if not self._state:
            self._state = state
            self._ended.set()
            if self._uploads:
                self._tell_audit(state)
            if self._build:
                self._build.output.wake()
            if self.spec.auto_remove and not self._removed.is_set():
                self._all.tasks.spawn(self._remove_ended(), name=f"remove {self.id[:12]}")

    def _tell_audit(self, state: State) -> None:
        """An equal build may end by another caller's call, so it is told for whoever created it."""
        audit.record(
            "build ended",
            outcome=state.reason or f"exit code {state.exit_code}",
            by=self._creator,
            id=self.id,
            image=self.spec.image,
            code=state.exit_code,
            sources=[upload.tree for upload in self._uploads],
            carried_out_as=self._build.id if self._build else "",
        )

    def _is_over(self) -> bool:
        """Whether this container has ended; its build may go on for other containers."""
        return self._ended.is_set()

    async def _remove_ended(self) -> None:
        await self._readers.drained(_DRAIN_SECONDS)
        if not self._removed.is_set():
            await self.remove()

    async def _abandon(self) -> None:
        await asyncio.sleep(self._all.options.now.abandoned_after_seconds)
        if not self._waiting and not self._removed.is_set():
            log.warning("build abandoned by its peer", build=self.id[:12])
            await self.remove()


def _killed(reason: str, started_at: str) -> State:
    return State("exited", SIGKILLED, reason, started_at, now())


def _scan(
    path: Path, digest: str, limits: ArchiveLimits, import_path: str, reading: Reading
) -> tuple[BuildUpload, int]:
    """What an archive of that sha256 is for a build, wherever it goes; how many entries it has."""
    with reading.open(path) as archive:
        entries = tar.scan(archive, limits=limits, digests=True)
    reference = ""
    if found := prebuilt.find(entries, import_path):
        with reading.open(path) as archive:
            reference = prebuilt.read(archive, found.name, limits=limits)
    vendored = build_key.tree([entry for entry in entries if "/vendor/" in f"/{entry.name}"])
    upload = BuildUpload(
        "",
        path,
        build_key.tree(entries),
        vendored,
        reference,
        sha256=digest,
        locks=origin.locks(entries),
    )
    return upload, len(entries)
