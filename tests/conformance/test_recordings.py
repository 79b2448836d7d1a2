"""
Peitho's answers beside those that dockerd gave to real peers, call by call.

The peer is played by the double, over the library that its release links, through a recorder.
"""

import asyncio

import pytest

from tests.conformance.conversation import (
    FAMILIES,
    Conversation,
    conversation,
)
from tests.conformance.recordings import observed, recorded
from tests.lab.cluster import Cluster
from tests.lab.peer import Package, PeerError, at_once, build_chaincode
from tests.lab.peitho import Peitho


@pytest.mark.timeout(180)
async def test_a_peers_life_is_answered_as_dockerd_answers_it(
    peitho: Peitho, cluster: Cluster
) -> None:
    """
    Install, commit, a kill, an exit, removals behind its back, a restart, an upgrade.
    """
    await at_once(FAMILIES, lambda version: _life(version, peitho, cluster))


async def _life(version: str, peitho: Peitho, cluster: Cluster) -> None:
    async with conversation(version, peitho, cluster, f"life-{version}") as said:
        package = await _installed_and_launched(said)

        await said.docker("POST", f"/containers/{package.container}/kill")
        await said.peer.expect("exit", package=package)
        await _called_again(said, package, "kill-container")

        with pytest.raises(PeerError):
            await said.peer.invoke(package, "exit", "3")
        assert 3 == (await said.peer.expect("exit", package=package)).code
        await _called_again(said, package, "exit-container")

        await said.docker("DELETE", f"/containers/{package.container}?force=1")
        await said.peer.expect("exit", package=package)
        await _called_again(said, package, "container-removed")

        await _restarted(said, package)
        await _without_its_image(said, package)
        await _upgraded(said, package)


async def _installed_and_launched(said: Conversation) -> Package:
    said.begin()
    package = await said.peer.install("go", label="life_1")
    if said.peer.settings.version.startswith("1."):
        await said.peer.launch(package)
        await said.compare("instantiate")
        return package
    await said.compare("install")
    await said.peer.launch(package)
    await said.compare("commit")
    return package


async def _called_again(said: Conversation, package: Package, scenario: str) -> None:
    said.begin()
    await said.peer.invoke(package, "put", "a", "b")
    await said.compare(scenario)


async def _restarted(said: Conversation, package: Package) -> None:
    said.begin()
    if said.peer.settings.version.startswith("1."):
        # Such a peer stops nothing: its chaincode ends by itself, when the stream breaks.
        await said.peer.restart()
        await said.docker("POST", f"/containers/{package.container}/wait")
        said.begin()
    else:
        await said.peer.restart()
    await said.peer.launch(package)
    await said.compare("peer-restart")


async def _without_its_image(said: Conversation, package: Package) -> None:
    said.begin()
    if said.peer.settings.version.startswith("1."):
        await said.peer.restart()
        await said.docker("DELETE", f"/containers/{package.container}?force=1")
        await said.docker("DELETE", f"/images/{package.image}?force=1")
        said.begin()
    else:
        await said.docker("DELETE", f"/images/{package.image}?force=1")
        await said.peer.restart()
    await said.peer.launch(package)
    await said.compare("image-removed")


async def _upgraded(said: Conversation, package: Package) -> None:
    said.begin()
    new = await said.peer.install("go", label="life_2")
    await said.peer.upgrade(package, new)
    await said.compare("upgrade")


async def test_a_failing_compile_is_answered_as_dockerd_answers_it(
    peitho: Peitho, cluster: Cluster
) -> None:
    """
    The build's body never ends, and its container is removed.
    """
    await at_once(FAMILIES, lambda version: _failing_compile(version, peitho, cluster))


async def _failing_compile(version: str, peitho: Peitho, cluster: Cluster) -> None:
    async with conversation(version, peitho, cluster, f"broken-{version}") as said:
        said.begin()
        with pytest.raises(PeerError, match="Error returned from build: 1"):
            await _tried(said, "broken_1")
        await said.compare("build-fail-compile")


async def _tried(said: Conversation, label: str) -> None:
    await said.peer.launch(await said.peer.install("broken", label=label))


async def test_chaincode_that_exits_at_once_is_answered_as_dockerd_answers_it(
    peitho: Peitho, cluster: Cluster
) -> None:
    """
    The peer is told the code, and tries anew at each call.
    """
    await at_once(FAMILIES, lambda version: _exits_at_once(version, peitho, cluster))


async def _exits_at_once(version: str, peitho: Peitho, cluster: Cluster) -> None:
    folder = build_chaincode("tiny", replacing={"exitCode     = 0": "exitCode     = 7"})
    async with conversation(version, peitho, cluster, f"exits-{version}") as said:
        said.begin()
        package = await said.peer.install(folder, label="exits_1")
        for _ in range(2):
            with pytest.raises(PeerError, match="container exited with 7"):
                await said.peer.launch(package)
        await said.compare("cc-exits-at-start", repeated=True)


async def test_a_peer_that_attaches_to_chaincode_is_shown_its_output(
    peitho: Peitho, cluster: Cluster
) -> None:
    """
    CORE_VM_DOCKER_ATTACHSTDOUT: one attach more, and the lines come to the peer's log.
    """
    await at_once(FAMILIES, lambda version: _attached(version, peitho, cluster))


async def _attached(version: str, peitho: Peitho, cluster: Cluster) -> None:
    async with conversation(
        version, peitho, cluster, f"stdout-{version}", attach_stdout=True
    ) as said:
        package = await said.peer.install("tiny", label="stdout_1")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_never_registers(said, package), name="launch")
            lines = ""
            while "tinycc starting" not in lines:
                lines += (await said.peer.expect("log")).text
            attached = [call.told for call in observed(said.exchanges())]
            await said.docker("DELETE", f"/containers/{package.container}?force=1")

    shown = [call.told for call in recorded(FAMILIES[version], "attach-stdout")]
    attach = ("POST /containers/ID/attach", 101, "")
    assert attach in shown
    assert attach == [told for told in attached if told[0] == attach[0]][-1]


async def _never_registers(said: Conversation, package: Package) -> None:
    with pytest.raises(PeerError):
        await said.peer.launch(package)
