"""
A build while it is carried out, and its outcome.

Several build containers may stand for one build: all peers that install the same package share it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog

from peitho import __version__, metrics
from peitho.clients.disk.build_cache import RESULT, KeptBuild
from peitho.clients.disk.storage import remove_directory, sha256, spool
from peitho.core.builds.output import BuildOutput
from peitho.core.clock import now
from peitho.core.container import State
from peitho.errors import PeithoError, StartFailed, StorageFull, StorageUnusable
from peitho.formats.images.origin import Origin, Source
from peitho.formats.records import (
    DEADLINE_EXCEEDED,
    OUT_OF_MEMORY,
    SIGKILLED,
    ContainerSpec,
    Exit,
)

log = structlog.get_logger()

# What Fabric's builds write to, whatever the platform (DockerBuildOptions since 1.0).
OUTPUT_DIRECTORY = "/chaincode/output"
# Docker's exit code of a container whose command could not be run.
NEVER_RAN = 125


@dataclass(frozen=True, slots=True)
class BuildUpload:
    """
    An archive that the peer uploaded, the directory it is for, and its files' digest.

    `dependencies` is the digest of those that are vendored; `prebuilt` the image that its source
    names instead of being one, mostly empty. `sha256` is of the archive as it came, `locks` has
    those of its files that name modules.
    """

    path: str
    archive: Path
    tree: str
    dependencies: str = ""
    prebuilt: str = ""
    sha256: str = ""
    locks: Mapping[str, str] = field(default_factory=dict)


class Build:
    """
    One build: what is to be done, what the command wrote so far, and how it ended.

    `compiled_key` and `packages_key` are those of what it may be given, empty for none; one that
    `compiles_ahead` makes what is compiled, and no container stands for it. `image_id` has the
    digest of the builder image that it ran in, once that is known.
    """

    def __init__(  # noqa: PLR0913  what is asked for, by whom, and where it is kept
        self,
        build_id: str,
        spec: ContainerSpec,
        *,
        directory: Path,
        output: BuildOutput,
        uploads: tuple[BuildUpload, ...] = (),
        peer: str = "",
        result_bytes: int = 0,
        is_shared: bool = True,
        compiled_key: str = "",
        packages_key: str = "",
    ) -> None:
        self.id = build_id
        self.spec = spec
        self.uploads = uploads
        self.peer = peer
        self.is_shared = is_shared
        self.directory = directory
        self.output = output
        self.compiled_key = compiled_key
        self.compiles_ahead = False
        self.lacks_compiled = False
        self.packages_key = packages_key
        self.lacks_packages = False
        self.image_id = ""
        self._result_bytes = result_bytes
        self.began = time.monotonic()
        self._phase, self._phase_began = "waiting", self.began
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
        self._heard_at = 0.0
        self._lack: PeithoError | None = None
        self._users: dict[str, Callable[[State], None]] = {}

    @property
    def is_used(self) -> bool:
        """Whether a build container still stands for it."""
        return bool(self._users)

    @property
    def has_failed(self) -> bool:
        """Whether the build is over and its command failed, or never ran."""
        return self.state is not None and self.state.exit_code != 0

    @property
    def peers(self) -> int:
        """How many build containers stand for it."""
        return len(self._users)

    def add_container(self, build_id: str, ended: Callable[[State], None]) -> None:
        """Add a build container; `ended` is called once the build has ended."""
        self._users[build_id] = ended
        if self.state:
            ended(self.state)

    def remove_container(self, build_id: str) -> None:
        """Remove a build container, which is gone."""
        self._users.pop(build_id, None)

    async def until_started(self) -> None:
        """
        Return once the command runs, or ran.

        Raises StartFailed, or whatever error kept it from running.
        """
        await self._decided.wait()
        if self.started_at:
            return
        if self._failure:
            raise self._failure
        raise StartFailed("the build was ended before its command ran")

    @property
    def phase(self) -> str:
        """What it is at: `waiting`, `starting`, `running` or `fetching`, `over` after that."""
        return self._phase

    def take_turn(self) -> None:
        """Note that the build waits for no other any more."""
        if self._phase == "waiting":
            self._enter("starting")

    @property
    def origin(self) -> Origin:
        """What is told of it with what it makes, as far as that is known."""
        return Origin(
            build_id=self.id,
            builder=self.spec.image,
            builder_id=self.image_id,
            command=(*self.spec.entrypoint, *self.spec.command),
            variables=tuple(sorted({each.partition("=")[0] for each in self.spec.env})),
            sources=tuple(
                Source(each.path, each.sha256, each.tree, each.locks) for each in self.uploads
            ),
            started_at=self.started_at,
            finished_at=self.state.finished_at if self.state else "",
            version=__version__,
        )

    def note_image(self, image_id: str) -> None:
        """Note which image it ran in, as soon as that is known."""
        self.image_id = image_id or self.image_id
        if self.result:
            self.result = replace(self.result, origin=self.origin.to_json())

    def mark_started(self) -> None:
        """Note that the command runs."""
        if not self.started_at and not self.state:
            self._enter("running")
        self.started_at = self.started_at or now()
        self._decided.set()

    async def append_output(self, chunks: AsyncIterator[bytes]) -> None:
        """Keep output of the command, as frames; the first call notes that it runs."""
        self.mark_started()
        async for chunk in chunks:
            self.output.write(chunk)

    def set_exit_code(self, code: int) -> None:
        """Note the exit code of the command, once all its output has been taken."""
        self._code = code
        self._told.set()

    async def until_exit_code(self) -> Exit:
        """Wait for the exit code of the command."""
        await self._told.wait()
        return Exit(self._code)

    async def save_result(self, chunks: AsyncIterator[bytes], architecture: str) -> None:
        """Save the tar of the output directory."""
        path = self.directory / RESULT
        told = self._heard(chunks)
        await spool(told, path.with_suffix(".part"), limit_bytes=self._result_bytes)
        path.with_suffix(".part").rename(path)
        digest = await asyncio.to_thread(sha256, path)
        seconds = time.monotonic() - self.began
        self.result = KeptBuild(
            digest, architecture, self.spec.image, seconds, time.time(), self.origin.to_json()
        )
        if self._phase == "fetching":
            self._enter("over")
        self._made.set()

    async def _heard(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Note that something comes."""
        async for chunk in chunks:
            self._heard_at = asyncio.get_running_loop().time()
            yield chunk

    async def until_result(self, silence_seconds: float) -> Path:
        """
        Wait for the tar of the output directory, however large it is.

        Raises PeithoError if nothing of it arrives for so long, or never will.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        while (left := max(began, self._heard_at) + silence_seconds - loop.time()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._made.wait()
                    break
        if self.result:
            return self.directory / RESULT
        raise self._lack or PeithoError("the build's output did not arrive")

    def set_no_result(self, error: PeithoError) -> None:
        """Note why there will be no tar of the output directory."""
        self._lack = error
        if self._phase == "fetching":
            self._enter("over")
        self._made.set()

    def end(self, end: Exit) -> None:
        """End the build, for all build containers that stand for it; later calls change nothing."""
        if self.state:
            return
        if end.reason and self.started_at:  # else the start fails with it, and peers show both
            with suppress(StorageFull, StorageUnusable):  # the end is told all the same
                self.output.say(f"peitho: the build ended with {end.code}: {end.reason}")
        self.output.close()
        self.state = State("exited", end.code, end.reason, self.started_at, now())
        self._decided.set()
        seconds = time.monotonic() - self.began
        if not self.compiles_ahead:  # no peer waits for that
            metrics.BUILD_SECONDS.labels("done" if end.code == 0 else "failed").observe(seconds)
            metrics.BUILDS.labels(_outcome(end, has_run=bool(self.started_at))).inc()
        self._enter("fetching" if end.code == 0 and not self.result else "over")
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
        """End the build because it could not be carried out."""
        self._failure = error
        self.set_no_result(error)
        self.end(Exit(NEVER_RAN, str(error)))

    def finish_from_cache(self, kept: KeptBuild) -> None:
        """End the build with the outcome of an equal one that was kept."""
        self.result = kept
        self._made.set()
        self.started_at = now()
        self._decided.set()
        self.state = State("exited", 0, "", self.started_at, self.started_at)
        self._phase = "over"
        self.over.set()

    async def discard(self) -> None:
        """Delete the files of the build."""
        self.output.close()
        await remove_directory(self.directory)

    def _enter(self, phase: str) -> None:
        now_seconds = time.monotonic()
        took_seconds = now_seconds - self._phase_began
        if not self.compiles_ahead:
            metrics.BUILD_PHASE_SECONDS.labels(self._phase).observe(took_seconds)
        self._phase, self._phase_began = phase, now_seconds


def _outcome(end: Exit, *, has_run: bool) -> str:
    """One of `metrics.BUILD_OUTCOMES`."""
    if end.code == 0:
        return "done"
    if end.reason.startswith(DEADLINE_EXCEEDED):
        return "too late"
    if end.code == SIGKILLED and end.reason and OUT_OF_MEMORY not in end.reason:
        return "ended"
    return "failed" if has_run else "not started"
