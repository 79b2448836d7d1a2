"""
What the recordings show beyond status and keys: order, headers, codes and the bytes of streams.

One build that ends well and one that fails, by each generation of peers.
"""

import base64
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from tests.conformance.conversation import FAMILIES, UNCOUNTED, conversation
from tests.conformance.recordings import Call, observed, recorded
from tests.lab.cluster import Cluster
from tests.lab.peer import PeerError, at_once, build_chaincode
from tests.lab.peitho import Peitho
from tests.lab.recorder import Exchange
from tests.support.observe import until

# At no fixed place: open while others are answered, or sent at the same moment as another.
UNORDERED = ("POST /build", "POST /containers/ID/attach")
NEWEST = ("2.5.16", "3.1.5")

pytestmark = pytest.mark.usefixtures("peitho_log")


def ordered(calls: Iterable[Call]) -> list[tuple[str, int | None]]:
    """Requests with the status of their answers, as far as their order is fixed."""
    return [
        (call.request, call.status)
        for call in calls
        if call.request not in (*UNCOUNTED, *UNORDERED)
    ]


def answered(exchanges: list[Exchange]) -> list[tuple[str, int | None]]:
    """Those of which an answer came, or has begun."""
    return [each for each in ordered(observed(exchanges)) if each[1] != 0]


def ending(exchanges: list[Exchange], what: str) -> list[Exchange]:
    """The exchanges whose path ends so."""
    return [each for each in exchanges if each.path.endswith(what)]


async def test_a_build_is_answered_in_dockerds_order_with_its_headers_and_files(
    peitho: Peitho, cluster: Cluster
) -> None:
    """
    The recorded order; an Api-Version that all peers take; codes, stat and archive of the output.
    """
    await at_once(FAMILIES, lambda version: _built(version, peitho, cluster))


async def _built(version: str, peitho: Peitho, cluster: Cluster) -> None:
    async with conversation(version, peitho, cluster, f"wire-{version}") as said:
        # 1.4 builds at its launch, which only what registers brings to an end.
        chaincode = "go" if version.startswith("1.") else "tiny"
        package = await said.peer.install(chaincode, label="wire_1")
        if version.startswith("1."):
            await said.peer.launch(package)
        scenario = "instantiate" if version.startswith("1.") else "install"
        built = ordered(recorded(FAMILIES[version], scenario))
        # What registers does so before its start is answered: the rest is still to come.
        await until(lambda: len(built) <= len(answered(said.exchanges())))
        found = said.exchanges()

    assert built == ordered(observed(found))
    for each in found:
        _has_dockers_headers(each)
    codes = [json.loads(each.body)["StatusCode"] for each in ending(found, "/wait") if each.body]
    assert {0} == set(codes)
    (download,) = [each for each in ending(found, "/archive") if each.method == "GET"]
    _is_the_output(download)


def _has_dockers_headers(exchange: Exchange) -> None:
    if exchange.status in (0, 101):
        return
    headers = exchange.headers
    assert 44 <= int(headers["api-version"].removeprefix("1.")) <= 52, exchange.target
    assert ("false", "linux") == (headers["docker-experimental"], headers["ostype"])
    if exchange.status >= 400:
        assert "application/json" == headers["content-type"]
        assert ["message"] == list(json.loads(exchange.body))


def _is_the_output(download: Exchange) -> None:
    stat: Mapping[str, Any] = json.loads(
        base64.b64decode(download.headers["x-docker-container-path-stat"])
    )
    types = {key: type(value) for key, value in stat.items()}
    assert {"name": str, "size": int, "mode": int, "mtime": str, "linkTarget": str} == types
    assert stat["mode"] & 1 << 31  # Go's bit of a directory
    with tarfile.open(fileobj=io.BytesIO(download.body)) as archive:
        modes = {entry.name: oct(entry.mode & 0o777) for entry in archive}
    assert "0o755" == modes["./chaincode"]


async def test_a_failing_builds_output_comes_in_the_form_that_a_peer_can_read(
    peitho: Peitho, cluster: Cluster
) -> None:
    """
    Frames of 127 bytes at most on bare paths, raw below `/v1.NN`; all of it before the code.
    """
    await at_once(FAMILIES, lambda version: _failed(version, peitho, cluster))


async def _failed(version: str, peitho: Peitho, cluster: Cluster) -> None:
    # Each its own, or they would share one build.
    failing = "\tthis does not compile, line"
    lines = "\n".join(f"{failing} {number} of {version}" for number in range(20))
    folder = build_chaincode("broken", replacing={"\tthis does not compile": lines})
    async with conversation(version, peitho, cluster, f"frames-{version}") as said:
        with pytest.raises(PeerError, match="Error returned from build: 1") as failure:
            await said.peer.launch(await said.peer.install(folder, label="frames_1"))
        found = said.exchanges()

    attach = ending(found, "/attach")[-1]
    wait = ending(found, "/wait")[-1]
    assert (101, True) == (attach.status, attach.complete)
    assert {"StatusCode": 1} == json.loads(wait.body)
    assert attach.ended <= wait.ended
    said_by_compiler = b"".join(frame.data for frame in attach.frames)
    assert said_by_compiler.count(b"main.go:") > 5
    if version in NEWEST:
        assert "application/vnd.docker.raw-stream" == attach.headers["content-type"]
        assert {0} == {frame.stream for frame in attach.frames}
        assert not attach.half_closed
    else:
        assert "application/vnd.docker.multiplexed-stream" == attach.headers["content-type"]
        assert {frame.stream for frame in attach.frames} <= {1, 2}
        assert len(said_by_compiler) > 127 >= max(len(frame.data) for frame in attach.frames)
        assert attach.half_closed
    assert said_by_compiler.decode().strip() in str(failure.value)
    assert "\\x00" not in str(failure.value)
