"""
What a peer asks for and no registry has: its builder image, its runtime image.

Where a node pulls what a daemon would have pulled, the calls are dockerd's until the pull of a
builder, and the cause is told by `start` (docs/decisions/0007-wire-differences.md).
"""

import re

import pytest

from tests.conformance.conversation import FAMILIES, UNCOUNTED, conversation
from tests.conformance.recordings import Call, observed, recorded
from tests.lab.beside import beside
from tests.lab.cluster import Cluster
from tests.lab.peer import PeerError, at_once
from tests.lab.peitho import Peitho

PULL_FAILED = re.compile(r"fabric-nosuch:.*(ErrImagePull|ImagePullBackOff|pull)", re.DOTALL)
REMOVED = ("DELETE /containers/ID", 204)
# What stands between dockerd's failing pull and the end, where a node pulls.
TOLD_AT_START = [
    ("POST /containers/create", 201),
    ("POST /containers/ID/start", 500),
    REMOVED,
]
# At no fixed place: opened before the compile, answered after it, or beside the start.
UNORDERED = ("POST /build", "POST /containers/ID/attach", "PUT /containers/ID/archive")

pytestmark = pytest.mark.usefixtures("peitho_log")


def missing(peitho: Peitho, version: str) -> str:
    """An image of a registry that is none (Peitho's listener for Pods), asked for by one peer."""
    return f"{peitho.delivery}/hyperledger/fabric-nosuch:{version}"


def answers(calls: list[Call]) -> list[tuple[str, int | None]]:
    """What was asked and the status of the answer, in order, where there is one."""
    return [
        (call.request, call.status)
        for call in calls
        if call.request not in (*UNCOUNTED, *UNORDERED)
    ]


@beside
async def test_a_builder_image_that_cannot_be_pulled_is_told_to_the_operator(
    peitho: Peitho, cluster: Cluster
) -> None:
    """
    As dockerd's up to the pull; then `start` says which image and why, and the build is dropped.
    """
    await at_once(FAMILIES, lambda version: _without_builder(version, peitho, cluster))


async def _without_builder(version: str, peitho: Peitho, cluster: Cluster) -> None:
    network, image = f"nobuilder-{version}", missing(peitho, version)
    async with conversation(version, peitho, cluster, network, builder_image=image) as said:
        with pytest.raises(PeerError, match=PULL_FAILED):
            await said.peer.launch(await said.peer.install("tiny", label="nobuilder_1"))
        found = observed(said.exchanges())

    looks = [call.told for call in found if call.request == "GET /images/NAME/json"]
    assert ("GET /images/NAME/json", 404, f"No such image: {image}") == looks[-1], version
    expected = answers(recorded(FAMILIES[version], "builder-missing"))
    before = expected[:4]  # of 1.4, which builds in the middle of a launch
    assert [*before, *TOLD_AT_START, *expected[4:]] == answers(found), version


@beside
async def test_a_runtime_image_that_cannot_be_pulled_fails_the_build(
    peitho: Peitho, cluster: Cluster
) -> None:
    """
    As dockerd's does, with the cause: a node has tried it before the build was answered.
    """
    await at_once(FAMILIES, lambda version: _without_runtime(version, peitho, cluster))


async def _without_runtime(version: str, peitho: Peitho, cluster: Cluster) -> None:
    network, image = f"noruntime-{version}", missing(peitho, version)
    async with conversation(version, peitho, cluster, network, runtime_image=image) as said:
        with pytest.raises(PeerError, match=PULL_FAILED):
            await said.peer.launch(await said.peer.install("tiny", label="noruntime_1"))
        found = answers(observed(said.exchanges()))

    expected = answers(recorded(FAMILIES[version], "runtime-missing"))
    assert expected[: len(found)] == found, version
    assert REMOVED in found
