"""Thousands of chaincodes in an API server of their own, on nodes that kwok simulates."""

import asyncio
import hashlib
import json
import secrets
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from peitho.clients.disk.sealed import seal
from peitho.clients.disk.storage import Storage, image_key
from peitho.clients.kubernetes.api import Kubernetes
from peitho.clients.kubernetes.records import Records
from peitho.formats.images import image_record
from peitho.formats.images.image_record import Image
from peitho.formats.kubernetes import chaincode_job, record_secrets
from peitho.formats.records import ContainerSpec
from peitho.program import options
from peitho.settings.models import Settings
from tests.bench.place import say
from tests.lab import simulated
from tests.lab.cluster import Cluster
from tests.lab.peitho import make_namespace
from tests.support.docker_calls import Calls
from tests.support.observe import open_waits, until

NAMESPACE = "scale"
PEERS = 100

# Of connections that come at once, Peitho keeps a thousand.
_OPENED_AT_ONCE = 250
_OPEN_SECONDS = 60.0

_LAYERS = 50
_AT_ONCE = 24
_FILLED_SECONDS = 1200.0
_RUNTIME = "hyperledger/fabric-baseos:2.5"
# What kwok says of each Pod (tests/lab/kwok/stages.yaml); a trial would have told it before.
_RUNTIME_ID = f"docker.io/local/simulated@sha256:{7:064d}"
_ENV = (
    "CORE_CHAINCODE_LOGGING_LEVEL=info",
    "CORE_CHAINCODE_LOGGING_SHIM=warning",
    "CORE_PEER_TLS_ENABLED=true",
    "CORE_TLS_CLIENT_KEY_PATH=/etc/hyperledger/fabric/client.key",
    "CORE_TLS_CLIENT_CERT_PATH=/etc/hyperledger/fabric/client.crt",
    "CORE_PEER_TLS_ROOTCERT_FILE=/etc/hyperledger/fabric/peer.crt",
)
_FILES = ("client.key", "client.crt", "client_pem.key", "client_pem.crt", "peer.crt")


@dataclass(frozen=True, slots=True)
class Chaincode:
    """One that is to run: its name, its image and what a peer asked for."""

    name: str
    image: Image
    spec: ContainerSpec


def chaincode(number: int, peers: list[str]) -> Chaincode:
    """Return the one of a number, for one of the peers at these addresses."""
    peer = number % len(peers)
    label = f"mycc{number // len(peers)}"
    package = hashlib.sha256(label.encode()).hexdigest()
    name = f"dev-peer{peer}.org{peer // 10}.example.com-{label}_1.0-{package}"
    tag = hashlib.sha256(name.encode()).hexdigest()
    image = Image(
        name=f"{name}-{tag}".lower(),
        runtime=_RUNTIME,
        layer=f"sha256:{hashlib.sha256(_layer(number)).hexdigest()}",
        layer_bytes=len(_layer(number)),
        directory="/usr/local/bin",
        entries=("chaincode",),
        labels={
            "org.hyperledger.fabric.chaincode.type": "GOLANG",
            "org.hyperledger.fabric.version": "2.5.16",
        },
        env={"CORE_CHAINCODE_BUILDLEVEL": "2.5.16"},
        architecture="amd64",
        created="2026-01-02T03:04:05Z",
        runtime_id=_RUNTIME_ID,
    )
    env = (*_ENV, f"CORE_CHAINCODE_ID_NAME={label}_1.0:{package}", "CORE_PEER_LOCALMSPID=Org1MSP")
    command = ("chaincode", f"-peer.address={peers[peer]}")
    return Chaincode(name, image, ContainerSpec(image.name, command, (), env))


def _layer(number: int) -> bytes:
    return f"layer {number % _LAYERS}".encode() * 100


@contextmanager
def peers_that_listen() -> Iterator[list[str]]:
    """Addresses of peers that take connections."""
    with ExitStack() as stack:
        listeners = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=128))
            for _ in range(PEERS)
        ]
        yield [f"127.0.0.1:{listener.getsockname()[1]}" for listener in listeners]


@asynccontextmanager
async def filled(cluster: Cluster, path: Path, count: int, peers: list[str]) -> AsyncIterator[None]:
    """A namespace with that many chaincodes that run, and their images in the data directory."""
    await asyncio.to_thread(make_namespace, cluster, NAMESPACE, level="privileged")
    try:
        began = time.monotonic()
        chaincodes = [chaincode(number, peers) for number in range(count)]
        await asyncio.to_thread(write_images, path / "data", chaincodes)
        async with Kubernetes.connect(
            kubeconfig=cluster.kubeconfig, namespace=NAMESPACE
        ) as kubernetes:
            await _launch_all(kubernetes, chaincodes)
        await until(lambda: asyncio.to_thread(_all_run, cluster, count), seconds=_FILLED_SECONDS)
        say(f"{count} chaincodes run after {time.monotonic() - began:.0f} s")
        yield
    finally:
        cluster.run_kubectl("delete", "namespace", NAMESPACE, "--wait=false")
        await asyncio.to_thread(simulated.down)


def write_images(data: Path, chaincodes: list[Chaincode]) -> None:
    """Write what the data directory has of their images."""
    Storage.make(data)
    for number in range(_LAYERS):
        digest = hashlib.sha256(_layer(number)).hexdigest()
        (data / "blobs" / "sha256" / digest).write_bytes(_layer(number))
    for chaincode in chaincodes:
        record = seal(image_record.to_json(chaincode.image))
        (data / "images" / f"{image_key(chaincode.image.name)}.json").write_bytes(record)


async def _launch_all(kubernetes: Kubernetes, chaincodes: list[Chaincode]) -> None:
    """The objects as Peitho makes them, but without Peitho: it is yet to start on them."""
    pods = options.chaincode_pods(Settings())
    records, left = Records(kubernetes), iter(chaincodes)

    async def work() -> None:
        for each in left:
            secret = record_secrets.chaincode_secret(
                instance=pods.instance,
                container_id=secrets.token_hex(32),
                name=each.name,
                spec=each.spec,
                token=secrets.token_urlsafe(40),
                created="2026-01-02T03:04:05Z",
            )
            record = await records.create(secret)
            files = {f"/etc/hyperledger/fabric/{name}": b"k" * 1000 for name in _FILES}
            record = await records.add_files(record, files)
            await kubernetes.create(chaincode_job.manifest(record, each.image, options=pods))

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(work(), name="fill")


def _all_run(cluster: Cluster, count: int) -> bool:
    path = f"api/v1/namespaces/{NAMESPACE}/pods?fieldSelector=status.phase%3DRunning&limit=1"
    answer = json.loads(cluster.run_kubectl("get", "--raw", f"/{path}"))
    found = len(answer["items"]) + int(answer["metadata"].get("remainingItemCount", 0))
    # Without a selector the server counts; with one it does not say how many are left.
    if answer["metadata"].get("continue") and "remainingItemCount" not in answer["metadata"]:
        found = len(
            cluster.run_kubectl(
                *("-n", NAMESPACE, "get", "pods", "-o", "name", "--chunk-size=500"),
                "--field-selector=status.phase=Running",
            ).split()
        )
    return found >= count


@asynccontextmanager
async def waits(calls: Calls, names: list[str]) -> AsyncIterator[None]:
    """Hold a wait for each of these open, each over a connection of its own."""
    tasks: list[asyncio.Task[int]] = []

    async def are_open() -> bool:
        return await open_waits(calls.peitho) >= len(tasks)

    try:
        for begin in range(0, len(names), _OPENED_AT_ONCE):
            tasks += [
                asyncio.get_running_loop().create_task(calls.wait(name))
                for name in names[begin : begin + _OPENED_AT_ONCE]
            ]
            await until(are_open, seconds=_OPEN_SECONDS)
        yield
    finally:
        for task in tasks:
            task.cancel()
