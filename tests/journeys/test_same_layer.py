"""The same package is the same layer, in whichever cluster, for whichever peer it was built."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.lab.cluster import Cluster
from tests.lab.peer import Peer
from tests.lab.peitho import Peitho, namespace
from tests.support.docker_calls import Calls

PACKAGES = {"tiny": "golang", "node": "node"}
# What differs between two clusters: names, users' habits, what is kept of former builds.
HERE: Mapping[str, Any] = {}
THERE: Mapping[str, Any] = {
    "peitho": {"instance": "elsewhere"},
    "builder": {
        "user": 1234,
        "cache": {"enable": False, "compiler": False},
        "template": {
            "spec": {
                "hostname": "another-node",
                "containers": [{"name": "build", "env": [{"name": "TZ", "value": "Asia/Tokyo"}]}],
            }
        },
    },
}
PEERS = (
    ("2.5.16", {"network_id": "lab", "peer_id": "peer0.org1.lab", "msp_id": "Org1MSP"}),
    ("3.1.5", {"network_id": "other", "peer_id": "a.org2.example", "msp_id": "Org2MSP"}),
)


@pytest.mark.timeout(180)
async def test_a_package_is_the_same_layer_elsewhere(cluster: Cluster, tmp_path: Path) -> None:
    """
    In Go, and in Node.js with a lock file: nothing of the build's Pod, user, host or time is in it.
    """
    places = tuple(zip((HERE, THERE), PEERS, strict=True))
    for number, _ in enumerate(places):
        (tmp_path / str(number)).mkdir()
    async with asyncio.TaskGroup() as tasks:
        built = [
            tasks.create_task(_layers(cluster, tmp_path / str(number), settings, release, names))
            for number, (settings, (release, names)) in enumerate(places)
        ]
    here, there = (each.result() for each in built)

    assert here == there
    assert here["tiny"] != here["node"]


async def _layers(
    cluster: Cluster,
    folder: Path,
    settings: Mapping[str, Any],
    release: str,
    names: Mapping[str, Any],
) -> dict[str, list[str]]:
    """The layers of the packages that a peer has installed at a Peitho of its own."""
    async with AsyncExitStack() as stack:
        own = await stack.enter_async_context(namespace(cluster))
        peitho = await stack.enter_async_context(Peitho.start(cluster, own, folder, **settings))
        peer = await stack.enter_async_context(
            Peer.start(release, endpoint=peitho.url, host_address=cluster.host_address, **names)
        )
        calls = await stack.enter_async_context(Calls.to(peitho))

        async def layers(chaincode: str, language: str) -> list[str]:
            package = await peer.install(chaincode, language=language)
            answer = await calls.call("GET", f"/images/{package.image}/json")
            found: list[str] = answer.body["RootFS"]["Layers"]
            return found

        async with asyncio.TaskGroup() as tasks:
            built = {each: tasks.create_task(layers(*each)) for each in PACKAGES.items()}
    return {chaincode: task.result() for (chaincode, _), task in built.items()}
