"""Peers whose Docker endpoint speaks TLS and wants their certificate."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
import pytest_asyncio

from peitho.formats.audit_chain import Verification
from tests.journeys.peers import does_not_compile, label, lives_and_comes_back
from tests.lab import pki
from tests.lab.cluster import Cluster
from tests.lab.peer import Peer, PeerError, at_once
from tests.lab.peitho import Peitho, namespace
from tests.support.observe import alive

# One of each client library that peers link, and of each way to half-close.
RELEASES = ("1.4.12", "2.2.15", "2.5.16", "3.1.5")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of Peitho's CA below `ours`, and of another below `others`."""
    folder = tmp_path_factory.mktemp("pki")
    for name in ("ours", "others"):
        pki.certificates(folder / name, host="127.0.0.1", node="node")
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def peitho(
    cluster: Cluster, certificates: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Peitho]:
    """A Peitho that answers whoever shows a certificate of its CA."""
    folder, ours = tmp_path_factory.mktemp("peitho"), certificates / "ours"
    tls = {
        "cert-file": str(ours / "apiserver.crt"),
        "key-file": str(ours / "apiserver.key"),
        "client-ca-file": str(ours / "ca.crt"),
    }
    async with namespace(cluster) as name:
        audit = {"file": str(folder / "audit.jsonl")}
        async with Peitho.start(
            cluster, name, folder, server={"tls": tls}, audit=audit, chaincode={"settleSeconds": 0}
        ) as started:
            yield started


def peer(
    version: str, peitho: Peitho, cluster: Cluster, shown: Path
) -> AbstractAsyncContextManager[Peer]:
    """A peer that trusts Peitho's CA, and shows a certificate."""
    return Peer.start(
        version,
        endpoint=peitho.url,
        host_address=cluster.host_address,
        peer_id=f"p-{version}",
        daemon_ca=str(shown.parent / "ours/ca.crt"),
        daemon_cert=str(shown / "admin.crt"),
        daemon_key=str(shown / "admin.key"),
    )


@pytest.mark.timeout(180)
async def test_a_failing_builds_whole_text_arrives(
    peitho: Peitho, cluster: Cluster, certificates: Path
) -> None:
    """
    At each generation of clients: the older ones half-close before it is written.
    """

    async def story(version: str) -> None:
        async with peer(version, peitho, cluster, certificates / "ours") as asking:
            await does_not_compile(asking)

    await at_once(RELEASES, story)


@pytest.mark.timeout(180)
async def test_chaincode_lives_as_without_tls(
    peitho: Peitho, cluster: Cluster, certificates: Path
) -> None:
    """
    Compiled, launched, crashed and launched again, with whoever asked for it in the audit trail.
    """

    async def story(version: str) -> None:
        async with peer(version, peitho, cluster, certificates / "ours") as asking:
            package = await asking.install("go", label=label("go", version))
            await lives_and_comes_back(asking, package, peitho)
            await asking.stop(package)
            assert [] == alive(peitho, package.container)

    await at_once(("1.4.12", "3.1.5"), story)

    lines = (peitho.folder / "audit.jsonl").read_bytes().splitlines(keepends=True)
    assert [] == list(Verification().problems(lines))
    events = [json.loads(line) for line in lines]
    asked = [event["certificate"] for event in events if event["event"] == "container started"]
    assert {"O=system:masters,CN=admin"} == set(asked)


async def test_a_peer_with_a_foreign_certificate_gets_nothing(
    peitho: Peitho, cluster: Cluster, certificates: Path
) -> None:
    """
    Its log says why, in the words of its own TLS, and so does Peitho's.
    """
    async with peer("2.5.16", peitho, cluster, certificates / "others") as asking:
        with pytest.raises(PeerError, match=r"unknown certificate|bad certificate|certificate"):
            await asking.install("go", label="go-foreign_1")

    log = await asyncio.to_thread(peitho.log.read_text)
    assert "CERTIFICATE_VERIFY_FAILED" in log
