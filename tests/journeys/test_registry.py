"""Chaincode images in a registry, from the build in a Pod to the node that pulls them."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from peitho.clients.registry import Registry
from tests.journeys.calls import Calls
from tests.journeys.observe import alive, pods
from tests.lab import images
from tests.lab import registry as lab
from tests.lab.cluster import Cluster
from tests.lab.peer import Peer
from tests.lab.peitho import Peitho, namespace
from tests.lab.registry import ACCOUNT, Running

BASEOS = "hyperledger/fabric-baseos"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A registry that wants a password, on the node's loopback, where containerd speaks HTTP."""
    with lab.registry(tmp_path_factory.mktemp("registry"), password=True) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def settings(registry: Running, cluster: Cluster) -> dict[str, Any]:
    """Peitho's, for that registry, to which Fabric's runtime image was mirrored."""
    del cluster  # its images are made by then
    async with Registry.connect(registry.endpoint, lambda: ACCOUNT) as client:
        await lab.push(client, images.find(f"docker.io/{BASEOS}:2.5"), BASEOS, "2.5")
    return {
        "peitho": {"imageMode": "registry"},
        "images": {"rewrite": {f"{BASEOS}*": f"{registry.address}/{BASEOS}*"}},
        "docker": {
            "registry": {
                "server-address": registry.address,
                "project": "chaincode",
                "username": ACCOUNT.username,
                "password": ACCOUNT.password,
                "insecure": True,
            }
        },
    }


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def peitho(
    cluster: Cluster, settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Peitho]:
    """A Peitho in registry mode."""
    folder = tmp_path_factory.mktemp("peitho")
    async with (
        namespace(cluster) as name,
        Peitho.start(cluster, name, folder, **settings) as running,
    ):
        yield running


@pytest.mark.usefixtures("peitho_log")
async def test_chaincode_is_pushed_and_pulled_by_digest_and_known_after_a_restart(
    peitho: Peitho, cluster: Cluster, registry: Running, tmp_path: Path
) -> None:
    """
    Compiled in a Pod, run by a node that pulled it; nothing is built again when Peitho lost all.
    """
    async with Peer.start(
        "2.5.16", endpoint=peitho.url, host_address=cluster.host_address, peer_id="reg"
    ) as peer:
        package = await peer.install("go", label="reg_1")
        await peer.launch(package)
        await peer.invoke(package, "put", "asset", "blue")
        assert "blue" == (await peer.invoke(package, "get", "asset")).payload

        (pod,) = pods(peitho, package.container)
        (main,) = pod["spec"]["containers"]
        assert main["image"].startswith(f"{registry.address}/chaincode/")
        assert "@sha256:" in main["image"]
        assert "initContainers" not in pod["spec"]
        assert [{"name": "peitho-registry"}] == pod["spec"]["imagePullSecrets"]
        assert [] == list((peitho.data_dir / "blobs/sha256").iterdir())
        compiles = len(peer.steps("build"))

        await peitho.end()
        peitho.data_dir.rename(tmp_path / "lost")
        await peitho.begin()
        await peer.restart()
        await peer.launch(package)

        assert "blue" == (await peer.invoke(package, "get", "asset")).payload
        assert compiles == len(peer.steps("build"))
        await peer.stop(package)
        assert [] == alive(peitho, package.container)


@pytest.mark.usefixtures("peitho_log")
async def test_a_second_peer_has_the_same_digest(peitho: Peitho) -> None:
    """
    Its image is mounted, not sent.
    """
    async with Calls.to(peitho) as calls:
        found = []
        for name in ("one-peer0-mycc", "two-peer1-mycc"):
            await calls.make_image(name)
            answer = await calls.call("GET", f"/images/{name}/json")
            assert 200 == answer.status, answer
            (reference,) = answer.body["RepoDigests"]
            found.append(reference)

        assert found[0] != found[1]
        assert found[0].partition("@")[2] == found[1].partition("@")[2]
        started = await calls.launch("two", "two-peer1-mycc")
        assert 204 == started.status, started
        await calls.remove("two")


@pytest.mark.usefixtures("peitho_log")
async def test_an_image_that_is_gone_from_the_registry_is_told(peitho: Peitho) -> None:
    """
    As missing: the peer builds it anew.
    """
    async with Calls.to(peitho) as calls:
        await calls.make_image("gone", "exec sleep 60")
        assert 200 == (await calls.call("DELETE", "/images/gone")).status

        answer = await calls.create("gone", "gone")

        assert 404 == answer.status
        assert "No such image: gone:latest" == answer.message
