"""Two organizations with a namespace each, before one Peitho that knows them by certificates."""

import asyncio
import copy
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.journeys.peers import does_not_compile, label, lives_and_comes_back
from tests.lab import pki
from tests.lab.cluster import Cluster
from tests.lab.peer import Peer, PeerError, at_once
from tests.lab.peitho import Peitho, namespace, shipped
from tests.support.observe import pods

# Whose certificate is whose, of those that tests/lab/pki.py makes.
CERTIFICATES = {"org1": "admin", "org2": "scheduler"}
RIGHTS = ("Role", "RoleBinding")


@dataclass(frozen=True, slots=True)
class Scene:
    """A Peitho, the folder of the certificates, and the namespace of each tenant."""

    peitho: Peitho
    certificates: Path
    namespaces: dict[str, str]

    def of(self, tenant: str) -> Peitho:
        """The same Peitho, with a look at a tenant's namespace."""
        same = copy.copy(self.peitho)
        same.namespace = self.namespaces[tenant]
        return same

    def peer(
        self, version: str, tenant: str, *, certificate: str = "", **others: Any
    ) -> AbstractAsyncContextManager[Peer]:
        """A peer of a tenant, with its certificate or another."""
        shown = self.certificates / (certificate or CERTIFICATES[tenant])
        return Peer.start(
            version,
            endpoint=self.peitho.url,
            host_address=self.peitho.cluster.host_address,
            **{
                "peer_id": f"peer-{version}.{tenant}",
                "msp_id": f"{tenant}MSP",
                "daemon_ca": str(self.certificates / "ca.crt"),
                "daemon_cert": f"{shown}.crt",
                "daemon_key": f"{shown}.key",
                **others,
            },
        )


def grant(cluster: Cluster, *, peitho: str, to: str) -> None:
    """Give Peitho's account its Role in a tenant's namespace, as the guide has it."""
    found = shipped("chaincode.yaml", peitho=peitho, chaincode=to)
    cluster.apply(*(each for each in found if each["kind"] in RIGHTS))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def scene(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    """Two tenants, and a namespace of Peitho's own in which nothing is to run."""
    folder, certificates = tmp_path_factory.mktemp("peitho"), tmp_path_factory.mktemp("pki")
    pki.certificates(certificates, host="127.0.0.1", node="node")
    async with AsyncExitStack() as stack:
        own, *others = [
            await stack.enter_async_context(namespace(cluster)) for _ in ("", *CERTIFICATES)
        ]
        namespaces = dict(zip(CERTIFICATES, others, strict=True))
        for each in others:
            await asyncio.to_thread(grant, cluster, peitho=own, to=each)
        tls = {
            "cert-file": str(certificates / "apiserver.crt"),
            "key-file": str(certificates / "apiserver.key"),
            "client-ca-file": str(certificates / "ca.crt"),
        }
        tenants = {
            "org1": {"match": [{"o": "system:masters", "cn": "admin"}]},
            "org2": {"match": [{"cn": "system:kube-scheduler", "issuer": "lab"}]},
        }
        access = {
            "tenants": {
                name: rule
                | {
                    "msp-ids": [f"{name}MSP"],
                    "networks": ["lab"],
                    "peers": [f"peer-*.{name}"],
                    "namespace": namespaces[name],
                }
                for name, rule in tenants.items()
            }
        }
        started = Peitho.start(
            cluster,
            own,
            folder,
            server={"tls": tls},
            access=access,
            audit={"file": str(folder / "audit.jsonl")},
            chaincode={"settleSeconds": 0},
        )
        peitho = await stack.enter_async_context(started)
        yield Scene(peitho, certificates, namespaces)


@pytest.mark.timeout(240)
async def test_each_lives_in_its_namespace_and_sees_its_own_alone(scene: Scene) -> None:
    """
    Both have the same package compiled, launched, crashed and launched again.
    """

    async def story(version: str) -> None:
        tenant = "org1" if version == "2.5.16" else "org2"
        async with scene.peer(version, tenant) as peer:
            package = await peer.install("go", label=label("go", "1"))
            await lives_and_comes_back(peer, package, scene.of(tenant))
            # The one that crashed may be on its way out.
            found = await asyncio.to_thread(pods, scene.of(tenant), package.container)
            labels = [pod["metadata"]["labels"] for pod in found]
            assert {f"peitho.{tenant}"} == {each["peitho/instance"] for each in labels}
            await peer.stop(package)

    await at_once(("2.5.16", "3.1.5"), story)

    assert [] == scene.peitho.objects("jobs")
    assert [] == [
        secret["metadata"]["name"]
        for secret in scene.peitho.objects("secrets")
        if secret["metadata"]["name"].startswith(("cc-", "build-"))
    ]
    lines = (scene.peitho.folder / "audit.jsonl").read_text().splitlines()
    events = [event for event in map(json.loads, lines) if event["event"] == "container started"]
    assert {
        ("org1", "O=system:masters,CN=admin"),
        ("org2", "CN=system:kube-scheduler"),
    } == {(event["tenant"], event["certificate"]) for event in events}
    images = scene.peitho.data_dir / "tenants"
    assert [1, 1] == [len(list((images / name / "images").iterdir())) for name in CERTIFICATES]


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"msp_id": "org1MSP"}, "CORE_PEER_LOCALMSPID: 'org1MSP' is not this tenant's"),
        ({"peer_id": "peer-9.org1"}, "'lab-peer-9.org1-"),
        ({"network_id": "net"}, "'net-peer-"),
        (
            {"certificate": "proxy"},
            "no tenant's rules match the certificate 'CN=system:kube-p",
        ),
    ],
    ids=["msp id", "peer", "network", "certificate"],
)
async def test_a_peer_that_takes_anothers_place_reads_why_it_is_refused(
    scene: Scene, change: dict[str, str], told: str
) -> None:
    """
    In its own error, whichever call it was.
    """
    async with scene.peer("2.5.16", "org2", **change) as peer:
        with pytest.raises(PeerError) as raised:
            await peer.launch(await peer.install("go", label="go-refused_1"))

    assert told in str(raised.value)


@pytest.mark.timeout(120)
async def test_a_failing_builds_words_are_its_own_tenants(scene: Scene) -> None:
    """
    With an older peer, in a namespace of its own.
    """
    async with scene.peer("1.4.12", "org1") as peer:
        await does_not_compile(peer)
