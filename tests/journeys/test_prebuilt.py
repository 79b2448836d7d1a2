"""Chaincode that is an image already: nothing is compiled, and the node runs exactly that image."""

import asyncio
import os
import time

import pytest

from peitho.formats.images import prebuilt
from tests.lab import images
from tests.lab.cluster import Cluster
from tests.lab.peitho import Peitho
from tests.support.docker_calls import Calls, archive, context
from tests.support.observe import pods

MISSING = f"docker.io/local/fabric-nosuch@sha256:{'ab' * 32}"

pytestmark = [
    pytest.mark.usefixtures("peitho_log"),
    pytest.mark.skipif(
        "KUBECONFIG" in os.environ,  # noqa: TID251
        reason="an image comes by its digest to the lab's own node alone",
    ),
]


@pytest.fixture(scope="module")
def image(cluster: Cluster) -> str:
    """An image on the node, by its digest."""
    del cluster
    return images.ensure_prebuilt()


async def install(calls: Calls, image: str, name: str) -> None:
    """What a peer does at an install, and how long it took."""
    build = await calls.create_build("go build")
    source = archive({"src/image.json": (0o644, prebuilt.document(image))})
    assert 200 == (await calls.put(build, source)).status
    assert 204 == (await calls.start(build)).status
    assert 0 == await calls.wait(build)
    result = await calls.call(
        "GET", f"/containers/{build}/archive", params={"path": "/chaincode/output/."}
    )
    assert 200 == result.status
    await calls.remove(build)
    built = await calls.build(name, context(prebuilt.result(image)))
    assert 200 == built.status, built


async def test_an_image_of_ci_is_launched_as_it_is(
    calls: Calls, peitho: Peitho, image: str
) -> None:
    """
    The install takes a second, and the Pod has the digest, its own command, and the peer's address.
    """
    await install(calls, image, "warm")  # a node tries the image once
    began = time.monotonic()
    await install(calls, image, "asset")
    assert time.monotonic() - began < 5  # a second, on a machine with nothing else to do

    assert 204 == (await calls.launch("asset-1", "asset")).status
    (pod,) = pods(peitho, "asset-1")
    (main,) = pod["spec"]["containers"]
    assert image == main["image"]
    assert not {"command", "args"} & main.keys()
    said = await asyncio.to_thread(peitho.kubectl, "logs", pod["metadata"]["name"])
    assert "peer at 10.0.0.1:7052, key of a test" in said
    await calls.remove("asset-1")


async def test_an_image_that_no_node_can_have_fails_the_install(calls: Calls) -> None:
    """
    With its name, in the words that a peer shows.
    """
    build = await calls.create_build("go build")
    source = archive({"src/image.json": (0o644, prebuilt.document(MISSING))})
    assert 200 == (await calls.put(build, source)).status
    assert 204 == (await calls.start(build)).status
    answer = await calls.build("none", context(prebuilt.result(MISSING)))
    await calls.remove(build)

    assert 500 == answer.status
    assert f"the image {MISSING} cannot be had" in answer.message
