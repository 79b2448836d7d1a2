"""A peer's whole story, told by the libraries that peers of each generation link."""

import pytest

from tests.journeys.peers import label, lives_and_comes_back, node_answers
from tests.lab.cluster import Cluster
from tests.lab.peer import Peer, at_once
from tests.lab.peitho import Peitho
from tests.support.observe import alive

# 2.5.16 is in test_pairs.py.
RELEASES = ("1.4.12", "2.2.15", "3.1.5")

pytestmark = pytest.mark.usefixtures("peitho_log")


@pytest.mark.timeout(180)
async def test_go_chaincode_is_compiled_launched_crashes_and_comes_back(
    peitho: Peitho, cluster: Cluster
) -> None:
    """
    A Go package is compiled in a Pod, runs as a Job, and its life is what a daemon's would be.
    """
    await at_once(RELEASES, lambda version: _whole_life(version, peitho, cluster))


async def _whole_life(version: str, peitho: Peitho, cluster: Cluster) -> None:
    async with Peer.start(
        version, endpoint=peitho.url, host_address=cluster.host_address, peer_id=f"p-{version}"
    ) as peer:
        package = await peer.install("go", label=label("go", version))
        await lives_and_comes_back(peer, package, peitho)

        await peer.stop(package)
        assert [] == alive(peitho, package.container)


async def test_node_chaincode_on_fabric_shim_registers_and_answers(
    peitho: Peitho, cluster: Cluster
) -> None:
    """
    A package is built by npm, offline in a Pod, and Fabric's own shim registers over TLS.
    """
    async with Peer.start("2.5.16", endpoint=peitho.url, host_address=cluster.host_address) as peer:
        await node_answers(peer)


@pytest.mark.timeout(180)
async def test_a_peer_that_restarts_finds_its_image_and_launches_anew(
    peitho: Peitho, cluster: Cluster
) -> None:
    """
    Killed or stopped, a peer comes back to an image that is still there: nothing is compiled again.
    """
    await at_once(("2.2.15", "3.1.5"), lambda version: _restarted(version, peitho, cluster))


async def _restarted(version: str, peitho: Peitho, cluster: Cluster) -> None:
    async with Peer.start(
        version, endpoint=peitho.url, host_address=cluster.host_address, peer_id=f"r-{version}"
    ) as peer:
        package = await peer.install("go", label=label("go", version))
        await peer.launch(package)
        compiles = len(peer.steps("build"))

        await peer.restart(kill=True)
        await peer.launch(package)
        await peer.invoke(package, "put", "a", "1")
        await peer.restart()
        await peer.launch(package)

        assert compiles == len(peer.steps("build"))
        await peer.stop(package)


async def test_an_upgrade_replaces_the_running_chaincode(peitho: Peitho, cluster: Cluster) -> None:
    """
    The new package is compiled beside the old, which is stopped and removed when it is committed.
    """
    async with Peer.start(
        "3.1.5", endpoint=peitho.url, host_address=cluster.host_address, peer_id="up"
    ) as peer:
        old = await peer.install("go", label="up_1")
        await peer.launch(old)
        new = await peer.install("go", label="up_2")

        await peer.upgrade(old, new)

        assert "1" == (await peer.invoke(new, "version")).payload
        assert [] == alive(peitho, old.container)
        assert 1 == len(alive(peitho, new.container))
        await peer.stop(new)
