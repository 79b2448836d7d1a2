"""Peers that build, before a cluster that only remembers what it was asked."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from peitho.core.builds.container import BuildContainer
from peitho.core.container import OutputOptions
from peitho.errors import NotFound, PeithoError
from peitho.formats.docker import streams
from peitho.formats.docker.streams import STDOUT
from peitho.formats.records import ContainerSpec
from peitho.program.composition import Composition
from peitho.settings.models import Section, Settings
from tests.support.archives import archive_bytes, file
from tests.support.contexts import chunks, package
from tests.support.in_process import composed
from tests.support.kubernetes_double import ApiServer

SPEC = ContainerSpec(image="ccenv", command=("go", "build"), entrypoint=(), env=())
PROBE = replace(SPEC, command=("go", "version"))
SAID = [(STDOUT, b"compiled\n")]


class Scene:
    """Peers that build, before a cluster that only remembers what it was asked."""

    def __init__(self, parts: Composition, cluster: ApiServer) -> None:
        self.builds, self.runs = parts.services.builds, parts.services.builds.pool
        self._parts = parts
        self.cluster = cluster
        self.made: list[BuildContainer] = []

    def follow(self, **sections: Section) -> None:
        """Have all go by other settings."""
        self._parts.shared.follow(self._parts.settings.now.model_copy(update=sections))

    async def create(
        self, source: bytes | None = b"package main", peer: str = "a"
    ) -> BuildContainer:
        """A peer's build container, with its source; the probe has none."""
        build = self.builds.create(PROBE if source is None else SPEC, peer=peer)
        self.made.append(build)
        if source is not None:
            archive = archive_bytes([file("main.go", source)], compression="gz")
            await build.put_archive("/chaincode/input", chunks(archive))
        return build

    async def begin(self, build: BuildContainer) -> None:
        """Start it, and go on before its command runs."""
        self.builds.tasks.spawn(outcome(build.start()), name="start")
        await asyncio.sleep(0)

    async def started(
        self, source: bytes | None = b"package main", peer: str = "a"
    ) -> BuildContainer:
        """Create and start one."""
        build = await self.create(source, peer)
        await self.begin(build)
        return build

    async def finish(self, build: BuildContainer, code: int = 0) -> None:
        """Tell what the helper of a build's own Pod tells."""
        run = self.runs.get(build.id)
        await run.append_output(chunks(streams.frame(*SAID[0])))
        run.set_exit_code(code)
        if code == 0:
            await self.runs.save_result(run, chunks(package()), "arm64")
            await run.over.wait()

    async def done(self, source: bytes | None = b"package main") -> BuildContainer:
        """A build from its creation to its good end."""
        build = await self.started(source)
        await self.finish(build)
        return build

    def first_of(self, *builds: BuildContainer) -> BuildContainer:
        """The one whose own Pod it is that others share."""
        for each in builds:
            with suppress(NotFound):
                return next(other for other in builds if other.id == self.runs.get(each.id).id)
        raise AssertionError("none of them is carried out")

    @property
    def pods(self) -> int:
        """How many Pods were created so far."""
        return self.cluster.count("POST", "pods")


@asynccontextmanager
async def scene(tmp_path: Path, *, follows: bool = True, **builder: Any) -> AsyncIterator[Scene]:
    """All parts, with these settings of `builder`; all builds are removed in the end."""
    settings = Settings.model_validate({"data_dir": tmp_path / "data", "builder": builder})
    async with composed(tmp_path, settings, follows=follows) as (parts, cluster):
        it = Scene(parts, cluster)
        yield it
        for build in it.made:
            await build.remove()
        assert {} == cluster.objects


async def outcome(call: Coroutine[Any, Any, bool]) -> str:
    """What a peer is told: nothing, or why not."""
    try:
        await call
    except PeithoError as error:
        return str(error)
    return ""


async def said(build: BuildContainer) -> list[tuple[int, bytes]]:
    """All that a peer that is attached is told."""
    return [each async for each in build.output(OutputOptions(follow=True))]


async def result(build: BuildContainer) -> bytes:
    """The archive that a peer fetches in the end."""
    return (await build.get_archive("/chaincode/output/.")).file.read_bytes()
