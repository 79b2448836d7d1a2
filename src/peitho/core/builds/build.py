"""
One build while it is carried out, and what it led to, for all the containers that stand for it.

A build is a function of its builder image, command, variables and uploaded files.
"""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from peitho import metrics
from peitho.clients.disk.build_cache import RESULT, KeptBuild
from peitho.clients.disk.storage import sha256, spool
from peitho.core.builds.output import BuildOutput
from peitho.core.clock import now
from peitho.core.container import State
from peitho.errors import PeithoError, StartFailed, StorageFull
from peitho.formats.records import ContainerSpec, Exit

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


class Build:
    """One build while it is carried out, and what it led to."""

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
    ) -> None:
        self.id = build_id
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
