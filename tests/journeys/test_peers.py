"""A peer's whole story, told by the libraries that peers of each generation link."""

import pytest

from tests.journeys.observe import alive, restarts
from tests.lab.cluster import Cluster
from tests.lab.peer import Package, Peer, PeerError, at_once
from tests.lab.peitho import Peitho

RELEASES = ("1.4.12", "2.2.15", "2.5.16", "3.1.5")

pytestmark = pytest.mark.usefixtures("peitho_log")


def label(name: str, version: str) -> str:
    """A package of its own for each release: an image is never built twice."""
    return f"{name}-{version.replace('.', '-')}_1"


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
        await peer.launch(package)

        await peer.invoke(package, "put", "asset", "blue")
        assert "blue" == (await peer.invoke(package, "get", "asset")).payload
        await _has_its_files(peer, package)

        with pytest.raises(PeerError, match="chaincode stream terminated"):
            await peer.invoke(package, "exit", "7")
        assert 7 == (await peer.expect("exit", package=package)).code

        assert "blue" == (await peer.invoke(package, "get", "asset")).payload
        assert {0} == restarts(peitho, package.container)

        await peer.stop(package)
        assert [] == alive(peitho, package.container)


async def _has_its_files(peer: Peer, package: Package) -> None:
    path = (await peer.invoke(package, "env", "CORE_TLS_CLIENT_KEY_PATH")).payload
    assert "/etc/hyperledger/fabric/client.key" == path
    assert (await peer.invoke(package, "file", path)).payload
    level = (await peer.invoke(package, "env", "CORE_CHAINCODE_LOGGING_FORMAT")).payload
    assert "%{color}" in level


async def test_node_chaincode_on_fabric_shim_registers_and_answers(
    peitho: Peitho, cluster: Cluster
) -> None:
    """
    A package is built by npm, offline in a Pod, and Fabric's own shim registers over TLS.
    """
    async with Peer.start("2.5.16", endpoint=peitho.url, host_address=cluster.host_address) as peer:
        package = await peer.install("node", label="node_1", language="node")
        await peer.launch(package)

        await peer.invoke(package, "put", "asset", "red")
        assert "red" == (await peer.invoke(package, "get", "asset")).payload
        await peer.stop(package)


async def test_a_compile_error_reaches_the_operator(peitho: Peitho, cluster: Cluster) -> None:
    """
    The compiler's words, and its exit code, are in the peer's own error.
    """
    await at_once(RELEASES, lambda version: _compile_error(version, peitho, cluster))


async def _compile_error(version: str, peitho: Peitho, cluster: Cluster) -> None:
    async with Peer.start(
        version, endpoint=peitho.url, host_address=cluster.host_address, peer_id=f"b-{version}"
    ) as peer:
        with pytest.raises(PeerError) as raised:
            await _install_and_launch(peer, "broken", label("broken", version))

    assert "Error returned from build: 1" in str(raised.value)
    assert "syntax error" in str(raised.value)


async def _install_and_launch(peer: Peer, chaincode: str, name: str) -> None:
    """From 2.0 on it is the install that compiles; 1.4 does it at the launch."""
    await peer.launch(await peer.install(chaincode, label=name))


@pytest.mark.timeout(180)
async def test_a_peer_that_restarts_finds_its_image_and_launches_anew(
    peitho: Peitho, cluster: Cluster
) -> None:
    """
    Killed or stopped, a peer comes back to an image that is still there: nothing is compiled again.
    """
    await at_once(("2.2.15", "2.5.16"), lambda version: _restarted(version, peitho, cluster))


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
        "2.5.16", endpoint=peitho.url, host_address=cluster.host_address, peer_id="up"
    ) as peer:
        old = await peer.install("go", label="up_1")
        await peer.launch(old)
        new = await peer.install("go", label="up_2")

        await peer.upgrade(old, new)

        assert "1" == (await peer.invoke(new, "version")).payload
        assert [] == alive(peitho, old.container)
        assert 1 == len(alive(peitho, new.container))
        await peer.stop(new)
