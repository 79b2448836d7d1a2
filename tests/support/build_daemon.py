"""A Peitho that builds in the double of a daemon."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peitho.core.builds.container import BuildContainer
from peitho.formats.records import ContainerSpec
from tests.support.archives import archive_bytes, file
from tests.support.contexts import chunks
from tests.support.docker_double import Dockerd
from tests.support.in_process import Running, running

SPEC = ContainerSpec(image="ccenv", command=("go", "build"), entrypoint=(), env=("A=1",))
SOURCE = archive_bytes([file("src/main.go", b"package main")], compression="gz")
LABELS = {
    "peitho/instance": "peitho",
    "peitho/kind": "build",
    "peitho/namespace": "ns",
}


@dataclass(frozen=True, slots=True)
class Scene:
    """A Peitho and the daemon that it builds in."""

    peitho: Running
    daemon: Dockerd

    async def build(self, spec: ContainerSpec = SPEC) -> BuildContainer:
        """A build that was created, with an upload."""
        build = await self.peitho.services.containers.create("", spec)
        assert isinstance(build, BuildContainer)
        await build.put_archive("/chaincode/input", chunks(SOURCE))
        return build


@asynccontextmanager
async def scene(path: Path, **builder: Any) -> AsyncIterator[Scene]:
    """Both, while they run."""
    async with (
        Dockerd.start(path) as daemon,
        daemon.client() as docker,
        running(path, daemon=docker, builder=builder) as peitho,
    ):
        yield Scene(peitho, daemon)
