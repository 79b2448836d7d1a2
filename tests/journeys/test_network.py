"""The NetworkPolicies in deploy/: who reaches whom, on a network that holds them."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.lab import deployed, images, network
from tests.lab.cluster import Cluster
from tests.lab.components import API_PORT
from tests.lab.peitho import make_namespace, shipped
from tests.support.docker_calls import BareCalls, archive, context
from tests.support.observe import until

API, DELIVERY, OPERATIONS, CHAINCODE, PEER, CLOUD = 8080, 8081, 9090, 5000, 7052, 8000
TARGETS = (
    *(("Peitho", port) for port in (API, DELIVERY, OPERATIONS)),
    *(("chaincode", CHAINCODE), ("peer", PEER), ("stranger", CLOUD)),
    ("Kubernetes", API_PORT),
)

# The firewall is the node's, and drops what it does not know yet.
pytestmark = pytest.mark.alone

# Who may connect to whom; nobody else may, of all that are tried.
ALLOWED = {
    ("peer", "Peitho", API),
    ("build", "Peitho", DELIVERY),
    ("chaincode", "Peitho", DELIVERY),
    ("Prometheus", "Peitho", OPERATIONS),
    ("chaincode", "peer", PEER),
    ("Peitho", "peer", PEER),
    ("Peitho", "Kubernetes", API_PORT),
}
# What is of nobody's policy is free: what is refused is so by Peitho's policies alone.
FREE = {
    (who, whom, port)
    for who in ("peer", "Prometheus", "stranger")
    for whom, port in (("peer", PEER), ("stranger", CLOUD), ("Kubernetes", API_PORT))
    if who != whom
}


@dataclass(frozen=True, slots=True)
class Place:
    """The namespaces of a story, and the address of Peitho's Service."""

    cluster: Cluster
    address: str
    peitho: str
    chaincode: str
    fabric: str
    monitoring: str
    strangers: str

    def pod(self, namespace: str, labels: str) -> dict[str, Any]:
        """The one Pod of a namespace with these labels."""
        (found,) = self.cluster.find(f"api/v1/namespaces/{namespace}/pods", labels=labels)
        return found


@dataclass(frozen=True, slots=True)
class Actors:
    """Pods by who they are, and the ports that are tried at each."""

    pods: Mapping[str, dict[str, Any]]
    host: str

    def connections(self) -> set[tuple[str, str, int]]:
        """Who reaches whom, of all pairs."""
        tried = [(who, whom, port) for who in self.pods for whom, port in TARGETS if who != whom]
        with ThreadPoolExecutor(16) as threads:
            reached = threads.map(lambda each: self._reaches(*each), tried)
            return {each for each, is_there in zip(tried, reached, strict=True) if is_there}

    def _reaches(self, who: str, whom: str, port: int) -> bool:
        address = self.pods[whom]["status"]["podIP"] if whom in self.pods else self.host
        return network.reaches(self.pods[who], address, port)


@contextmanager
def namespaces(cluster: Cluster) -> Iterator[Place]:
    """Peitho as it is shipped, and namespaces of peers, of Prometheus and of strangers."""
    tag = secrets.token_hex(3)
    names = [f"{each}-{tag}" for each in ("peitho", "chaincode", "fabric", "monitoring", "others")]
    own, chaincode, *others = names
    for name in others:
        make_namespace(cluster, name)
    try:
        address = deployed.deploy(cluster, images.PEITHO, peitho=own, chaincode=chaincode)
        deployed.await_answer(address)
        yield Place(cluster, address, own, chaincode, *others)
    finally:
        cluster.run_kubectl("delete", "namespace", *others, "--wait=false")
        deployed.discard(cluster, peitho=own, chaincode=chaincode)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def place(cluster: Cluster) -> AsyncIterator[Place]:
    """The namespaces, on a network that holds policies, of which there are none yet."""
    if not cluster.own:
        pytest.skip("whether the network of another cluster holds policies is not ours to try")
    with network.enforcing(cluster), namespaces(cluster) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def session(place: Place) -> AsyncIterator[aiohttp.ClientSession]:
    """The Docker API from the node, which reaches each of its Pods."""
    url = f"http://{place.address}:{API}"
    async with aiohttp.ClientSession(url, timeout=aiohttp.ClientTimeout(total=60)) as made:
        yield made


@pytest.mark.timeout(240)
async def test_who_reaches_whom(place: Place, session: aiohttp.ClientSession) -> None:
    """
    With the policies, whoever is named and nobody else; without one of them, others do, too.
    """
    calls = BareCalls(session)
    actors = await _actors(place, calls)
    everything = await asyncio.to_thread(actors.connections)
    tried = {(who, whom, port) for who in actors.pods for whom, port in TARGETS if who != whom}
    assert tried == everything

    await asyncio.to_thread(place.cluster.apply, *policies(place))
    await _until_so(actors, ALLOWED | FREE)
    await _lives_under_them(calls)

    policy = ("-n", place.peitho, "delete", "networkpolicy", "peitho")
    await asyncio.to_thread(place.cluster.run_kubectl, *policy)
    await until(lambda: _reaches(actors, ("stranger", "Peitho", API)), seconds=30)
    policy = ("-n", place.chaincode, "delete", "networkpolicy", "peitho-nobody")
    await asyncio.to_thread(place.cluster.run_kubectl, *policy)
    await until(lambda: _reaches(actors, ("stranger", "chaincode", CHAINCODE)), seconds=30)


def policies(place: Place) -> list[dict[str, Any]]:
    """The policies as they are shipped; the API server of the lab has a port of its own."""
    found = [
        policy
        for file in ("networkpolicy.yaml", "chaincode-networkpolicy.yaml")
        for policy in shipped(
            file,
            peitho=place.peitho,
            chaincode=place.chaincode,
            fabric=place.fabric,
            monitoring=place.monitoring,
        )
    ]
    (https,) = (each for each in found[0]["spec"]["egress"] if "to" not in each)
    https["ports"].append({"protocol": "TCP", "port": API_PORT})
    return found


async def _until_so(actors: Actors, expected: set[tuple[str, str, int]]) -> None:
    """The rules follow the policies within seconds."""
    found: set[tuple[str, str, int]] = set()
    for _ in range(10):
        found = await asyncio.to_thread(actors.connections)
        if found == expected:
            return
        await asyncio.sleep(1)
    assert expected == found


async def _reaches(actors: Actors, connection: tuple[str, str, int]) -> bool:
    return connection in await asyncio.to_thread(actors.connections)


async def _actors(place: Place, calls: BareCalls) -> Actors:
    """A build and a chaincode that Peitho made, Peitho itself, and three Pods of others."""
    for namespace, name, port in (
        (place.fabric, "peer", PEER),
        (place.monitoring, "prometheus", CLOUD),
        (place.strangers, "peer", CLOUD),  # whose label is that of a peer, but not its namespace
    ):
        await asyncio.to_thread(place.cluster.apply, _listener(namespace, name, port))
    build = await calls.create_build("exec sleep 300")
    assert 204 == (await calls.start(build)).status
    await calls.make_image("talks", f"exec busybox nc -ll -p {CHAINCODE} -e /bin/true")
    assert 204 == (await calls.launch("talks", "talks")).status
    others = (place.fabric, place.monitoring, place.strangers)
    for namespace in others:
        wait = ("-n", namespace, "wait", "pod", "--all", "--for=condition=Ready", "--timeout=60s")
        await asyncio.to_thread(place.cluster.run_kubectl, *wait)
    pods = {
        "Peitho": place.pod(place.peitho, "app.kubernetes.io/name=peitho"),
        "build": place.pod(place.chaincode, "peitho/kind=build"),
        "chaincode": place.pod(place.chaincode, "peitho/kind=chaincode"),
        "peer": place.pod(place.fabric, "app=peer"),
        "Prometheus": place.pod(place.monitoring, "app=prometheus"),
        "stranger": place.pod(place.strangers, "app=peer"),
    }
    return Actors(pods, place.cluster.host_address)


def _listener(namespace: str, name: str, port: int) -> dict[str, object]:
    security = {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {
        "name": name,
        "image": images.PEITHO,
        "command": ["python", "-m", "http.server", str(port), "--directory", "/tmp"],
        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1},
        "securityContext": security,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
    }


async def _lives_under_them(calls: BareCalls) -> None:
    """A build that uploads, and a chaincode whose layer is delivered."""
    build = await calls.create_build("cp /chaincode/input/a /chaincode/output/b")
    await calls.put(build, archive({"a": (0o644, b"source")}))
    assert 204 == (await calls.start(build)).status
    assert 0 == await calls.wait(build)
    await calls.remove(build)
    package = archive({"chaincode": (0o755, b"#!/bin/sh\nexec sleep 600\n")})
    assert 200 == (await calls.build("again", context(package))).status
    assert 204 == (await calls.launch("again", "again")).status
    await calls.remove("again")
