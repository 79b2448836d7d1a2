"""Chaincode of `tiny` in the middle of its launch: it runs and never registers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp

from tests.lab.cluster import Cluster
from tests.lab.peer import Package, Peer, PeerError
from tests.lab.peitho import Peitho
from tests.support.observe import until

# The code that `tiny` ends with when it is asked to.
TERMINATED = 143


class Launched:
    """An installed package that each test launches for itself."""

    def __init__(self, peitho: Peitho, peer: Peer, package: Package) -> None:
        self.peitho = peitho
        self.peer = peer
        self.package = package

    @classmethod
    @asynccontextmanager
    async def by(cls, peitho: Peitho, cluster: Cluster) -> AsyncIterator["Launched"]:
        """A peer with the package, while it is needed."""
        async with Peer.start(
            "2.5.16", endpoint=peitho.url, host_address=cluster.host_address
        ) as peer:
            yield cls(peitho, peer, await peer.install("tiny"))

    @asynccontextmanager
    async def launching(self) -> AsyncIterator[str]:
        """A container that is about to be created and started; its name."""
        name = self.package.container
        async with (
            asyncio.TaskGroup() as tasks,
            aiohttp.ClientSession(self.peitho.http) as session,
        ):
            launch = tasks.create_task(self._launch(), name="launch of tiny")
            try:
                yield name
            finally:
                while not launch.done():
                    await session.delete(f"/containers/{name}", params={"force": "1"})
                    await asyncio.wait([launch], timeout=1)
                await session.delete(f"/containers/{name}", params={"force": "1"})

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """A container that runs and has said all that it says; its name."""
        async with self.launching() as name, aiohttp.ClientSession(self.peitho.http) as session:

            async def said_all() -> bool:
                # Without frames, which may cut a line anywhere.
                path = f"/v1.47/containers/{name}/logs?stdout=1&stderr=1"
                async with session.get(path) as response:
                    said = await response.read()
                # The first on stdout, the last on stderr: their order in a Pod's log is not fixed.
                return b"tinycc starting" in said and b"tinycc ready" in said

            await until(said_all)
            yield name

    async def _launch(self) -> None:
        with suppress(PeerError):  # it never registers, and is ended at last
            await self.peer.launch(self.package)
