"""What becomes of a peer's chaincode, as the stories of several files tell it."""

import pytest

from tests.lab.peer import Package, Peer, PeerError
from tests.lab.peitho import Peitho
from tests.support.observe import restarts


def label(name: str, version: str) -> str:
    """A package of its own for each release: an image is never built twice."""
    return f"{name}-{version.replace('.', '-')}_1"


async def lives_and_comes_back(peer: Peer, package: Package, peitho: Peitho) -> None:
    """Launched and called, it exits with a code that `wait` tells, and is back at the next call."""
    await peer.launch(package)
    await peer.invoke(package, "put", "asset", "blue")
    assert "blue" == (await peer.invoke(package, "get", "asset")).payload
    await _has_its_files(peer, package)

    with pytest.raises(PeerError, match="chaincode stream terminated"):
        await peer.invoke(package, "exit", "7")
    assert 7 == (await peer.expect("exit", package=package)).code

    assert "blue" == (await peer.invoke(package, "get", "asset")).payload
    assert {0} == restarts(peitho, package.container)


async def _has_its_files(peer: Peer, package: Package) -> None:
    path = (await peer.invoke(package, "env", "CORE_TLS_CLIENT_KEY_PATH")).payload
    assert "/etc/hyperledger/fabric/client.key" == path
    assert (await peer.invoke(package, "file", path)).payload
    level = (await peer.invoke(package, "env", "CORE_CHAINCODE_LOGGING_FORMAT")).payload
    assert "%{color}" in level


async def does_not_compile(peer: Peer) -> None:
    """The compiler's words, and its exit code, are in the peer's own error."""
    with pytest.raises(PeerError) as raised:
        # From 2.0 on it is the install that compiles; 1.4 does it at the launch.
        await peer.launch(
            await peer.install("broken", label=label("broken", peer.settings.version))
        )

    assert "Error returned from build: 1" in str(raised.value)
    assert "syntax error" in str(raised.value)


async def node_answers(peer: Peer) -> None:
    """A Node package is built by npm, offline, and Fabric's own shim registers over TLS."""
    package = await peer.install("node", label="node_1", language="node")
    await peer.launch(package)

    await peer.invoke(package, "put", "asset", "red")
    assert "red" == (await peer.invoke(package, "get", "asset")).payload
    await peer.stop(package)
