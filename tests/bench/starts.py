"""(b) From the create of a chaincode to its process, beside a bare Pod with the same image."""

import asyncio
import secrets
from datetime import datetime
from typing import Any

from peitho.clients.kubernetes.api import Kubernetes
from peitho.formats import records
from peitho.formats.kubernetes import labels
from tests.bench.place import BenchError, Place, Stopwatch, running, say
from tests.bench.report import Row
from tests.lab.peitho import Peitho
from tests.support import typed
from tests.support.docker_calls import Calls, archive, context

MOST_SECONDS = 1.5
# A start lasts up to a second more or less, by the kubelet's clock: a few tell little.
RUNS_FACTOR = 4
HOW = (
    "Create, upload of five TLS files and start of a chaincode whose one file has 16 MiB, as a "
    "compiled one has; then a bare Pod of the same runtime image, security context and resources, "
    "created at the API server; then the same with an empty volume, since a kubelet that has a "
    "volume to mount looks again after 0.3 s.  The process begins at its first line of output, by "
    "the container runtime's own stamp (`kubectl logs --timestamps`), on both sides.  `start "
    "answered` and `running told` are when the peer, or a watch at the API server, hears of it: "
    "the kubelet looks once a second, so each create comes at a random moment of it.  They take "
    f"turns; differences are of neighbors.  {RUNS_FACTOR} times the runs of other parts."
)

_IMAGE = "bench-start"
_LABEL = "peitho-bench"
_TLS_FILES = ("client.key", "client.crt", "peer.crt", "client_pem.key", "client_pem.crt")
_SCRIPT = b"#!/bin/sh\necho started\nexec sleep 3600\n"
_FILE_BYTES = 16 << 20
_TOLD_SECONDS = 60.0
_LOG_LOOKS = 50
_KEPT = (
    "restartPolicy",
    "automountServiceAccountToken",
    "enableServiceLinks",
    "securityContext",
    "terminationGracePeriodSeconds",
)

Pod = dict[str, Any]


async def measure(place: Place) -> list[Row]:
    """Rows for both, and what Peitho takes more."""
    ours: list[tuple[float, float]] = []
    bare: list[tuple[float, float]] = []
    mounted: list[float] = []
    async with (
        running(place.cluster) as peitho,
        Calls.to(peitho) as calls,
        Kubernetes.connect(
            kubeconfig=place.cluster.kubeconfig, namespace=peitho.namespace
        ) as kubernetes,
    ):
        await make_image(calls, _IMAGE)
        for number in range(1, place.runs * RUNS_FACTOR + 1):
            await any_moment()
            taken, pod = await launch(calls, kubernetes, _IMAGE)
            ours.append(taken)
            await any_moment()
            bare.append(await _bare(peitho, kubernetes, bare_pod(pod)))
            await any_moment()
            mounted.append((await _bare(peitho, kubernetes, with_volume(bare_pod(pod))))[0])
            say(
                f"(b) run {number}: process after {taken[0]:.2f} s, bare Pod {bare[-1][0]:.2f} s, "
                f"with a volume {mounted[-1]:.2f} s"
            )
    return _rows(ours, bare, tuple(mounted))


def _rows(
    ours: list[tuple[float, float]], bare: list[tuple[float, float]], mounted: tuple[float, ...]
) -> list[Row]:
    process, answered = zip(*ours, strict=True)
    bare_process, told = zip(*bare, strict=True)
    more = tuple(mine - other for mine, other in zip(process, bare_process, strict=True))
    return [
        Row("b", "create to process, Peitho", "s", process),
        Row("b", "create to process, bare Pod", "s", bare_process),
        Row("b", "create to process, bare Pod with an empty volume", "s", mounted),
        Row("b", "create to process, Peitho minus bare Pod", "s", more, at_most=MOST_SECONDS),
        Row("b", "create to start answered, Peitho", "s", answered),
        Row("b", "create to running told, bare Pod", "s", told),
    ]


async def make_image(calls: Calls, name: str) -> None:
    """An image that no node has seen, of a script that says when it runs."""
    # The shell reads no further than `exec`; what follows gives the file its size.
    content = _SCRIPT + secrets.token_bytes(_FILE_BYTES)
    answer = await calls.build(name, context(archive({"chaincode": (0o755, content)})))
    if answer.status != 200:
        raise BenchError(f"the image was not built: {answer}")


async def launch(
    calls: Calls, kubernetes: Kubernetes, image: str, *, keep: bool = False
) -> tuple[tuple[float, float], Pod]:
    """Seconds to its process and to the answer of start; and its Pod, which is removed again."""
    name = f"bench-{secrets.token_hex(4)}"
    folder = "/etc/hyperledger/fabric"
    files = archive({f"{folder}/{each}": (0o644, secrets.token_bytes(1000)) for each in _TLS_FILES})
    began, watch = datetime.now().astimezone(), Stopwatch()
    created = await calls.create(name, image)
    put = await calls.put(name, files, path="/")
    started = await calls.start(name)
    answered = watch.seconds
    if (created.status, put.status, started.status) != (201, 200, 204):
        raise BenchError(f"the chaincode did not start: {created}, {put}, {started}")
    wanted = {labels.CONTAINER: labels.container_label(created.body["Id"])}
    (pod,) = await kubernetes.find("Pod", labels=wanted)
    at = await first_line(calls.peitho, pod)
    if not keep:
        await calls.remove(name)
    return ((at - began).total_seconds(), answered), pod


def bare_pod(pod: Pod) -> Pod:
    """A Pod of the same image under the same restrictions, with nothing else of Peitho's."""
    chaincode = pod["spec"]["containers"][-1]
    kept = {key: pod["spec"][key] for key in _KEPT}
    name = f"bare-{secrets.token_hex(4)}"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {_LABEL: name}},
        "spec": kept
        | {
            "containers": [
                {
                    "name": records.CHAINCODE,
                    "image": chaincode["image"],
                    "args": ["/bin/sh", "-c", "echo started; exec sleep 3600"],
                    "resources": chaincode["resources"],
                    "securityContext": chaincode["securityContext"],
                }
            ]
        },
    }


def with_volume(pod: Pod) -> Pod:
    """The same Pod with a volume, for which a kubelet looks after 0.3 s, and not before."""
    volume, mount = {"name": "v", "emptyDir": {}}, {"name": "v", "mountPath": "/v"}
    (container,) = pod["spec"]["containers"]
    name = f"{pod['metadata']['name']}-v"
    return pod | {
        "metadata": {"name": name, "labels": {_LABEL: name}},
        "spec": pod["spec"]
        | {"containers": [container | {"volumeMounts": [mount]}], "volumes": [volume]},
    }


async def _bare(peitho: Peitho, kubernetes: Kubernetes, manifest: Pod) -> tuple[float, float]:
    """Seconds to its process, and to being told of it."""
    began, watch = datetime.now().astimezone(), Stopwatch()
    pod = await kubernetes.create(manifest)
    await until_running(kubernetes, pod)
    told = watch.seconds
    at = await first_line(peitho, pod)
    await kubernetes.delete("Pod", pod["metadata"]["name"], grace_seconds=1)
    return (at - began).total_seconds(), told


async def until_running(kubernetes: Kubernetes, pod: Pod) -> None:
    """Return once a watch tells that a bare Pod runs."""
    metadata = pod["metadata"]
    async with asyncio.timeout(_TOLD_SECONDS):
        async for event in kubernetes.watch(
            "Pod", labels=metadata["labels"], version=metadata["resourceVersion"]
        ):
            if typed.pod(event["object"]).started_at(records.CHAINCODE):
                return
    raise BenchError(f"the watch of {metadata['name']} ended before it ran")


async def any_moment() -> None:
    """Wait for a moment that has nothing to do with what was before."""
    # What was waited for before ended when the kubelet looked: each create would come at one and
    # the same moment of its second, and be lucky or unlucky every time.
    await asyncio.sleep(secrets.randbelow(1000) / 1000)


async def first_line(peitho: Peitho, pod: Pod, *, last: bool = False) -> datetime:
    """The container runtime's time stamp of the first, or the last line of the process."""
    command = ["logs", "--timestamps", "-c", records.CHAINCODE, pod["metadata"]["name"]]
    for _ in range(_LOG_LOOKS):
        if text := await asyncio.to_thread(peitho.kubectl, *command):
            line = text.splitlines()[-1 if last else 0]
            return datetime.fromisoformat(line.split(maxsplit=1)[0])
        await asyncio.sleep(0.1)
    raise BenchError(f"{pod['metadata']['name']} wrote nothing")
