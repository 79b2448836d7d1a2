"""How a chaincode ends, and what is told of it: to the peer, on the record, in the cluster."""

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from peitho.clients.kubernetes.api import Kubernetes
from peitho.clients.kubernetes.pod_watch import PodWatch
from peitho.core.pods import waiting as pod_ends
from peitho.formats import records
from peitho.formats.kubernetes import labels
from tests.lab.beside import beside
from tests.lab.cluster import Cluster
from tests.lab.peitho import Peitho, namespace
from tests.support.attached import attach
from tests.support.docker_calls import Calls
from tests.support.observe import alive, pods, until

pytestmark = pytest.mark.usefixtures("peitho_log")

LINES = 10_240

OUTPUT = b"".join(b"%01023d\n" % number for number in range(LINES))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def peitho(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Peitho]:
    """A Peitho with all defaults: its `start` watches a new process for a moment."""
    folder = tmp_path_factory.mktemp("peitho")
    async with namespace(cluster) as name, Peitho.start(cluster, name, folder) as running:
        yield running


async def launched(calls: Calls, name: str, body: str, **host_config: int) -> None:
    """A chaincode that runs a script, started; whether its process lives on is the script's."""
    await calls.make_image(f"image-{name}", body)
    created = {"Image": f"image-{name}", "Cmd": ["chaincode"], "HostConfig": host_config}
    answer = await calls.call("POST", "/containers/create", params={"name": name}, json=created)
    assert 201 == answer.status, answer
    await calls.start(name)


def events(peitho: Peitho, name: str) -> list[dict[str, Any]]:
    """The Events on the Job of a container."""
    owners = {pod["metadata"]["ownerReferences"][0]["name"] for pod in pods(peitho, name)}
    return [each for each in peitho.objects("events") if each["involvedObject"]["name"] in owners]


async def test_chaincode_that_exits_at_its_start_says_why(calls: Calls, peitho: Peitho) -> None:
    """
    The start fails with code and last lines, which are also on the record; an Event has the code.
    """
    body = "echo reading the configuration; echo 'no such key: db' >&2; exit 7"
    await calls.make_image("image-at-once", body)

    answer = await calls.launch("at-once", "image-at-once")

    assert 500 == answer.status
    assert "container exited with 7 at its start; its last lines: " in answer.message
    assert "no such key: db" in answer.message
    assert "\n" not in answer.message
    assert 7 == await calls.wait("at-once")
    state = (await calls.inspect("at-once"))["State"]
    assert ("exited", 7) == (state["Status"], state["ExitCode"])
    assert "no such key: db" in state["Error"]
    await until(lambda: "ChaincodeEnded" in {each["reason"] for each in events(peitho, "at-once")})
    told = next(e for e in events(peitho, "at-once") if e["reason"] == "ChaincodeEnded")
    assert ("Warning", "The chaincode ended with exit code 7") == (told["type"], told["message"])
    await calls.remove("at-once")


async def test_a_wait_is_answered_as_soon_as_the_cluster_knows(
    calls: Calls, peitho: Peitho
) -> None:
    """
    Within 100 ms of the moment when the Pod's status comes to whoever watches it: the median.
    """
    async with (
        Kubernetes.connect(
            kubeconfig=peitho.cluster.kubeconfig, namespace=peitho.namespace
        ) as kubernetes,
        asyncio.TaskGroup() as tasks,
    ):
        watch = PodWatch(kubernetes, labels={})
        watching = tasks.create_task(watch.run())
        async with asyncio.TaskGroup() as stories:
            told = [stories.create_task(_seconds_late(calls, watch, each)) for each in range(7)]
        watching.cancel()

    late = sorted(each.result() for each in told)
    print("seconds from the news to the answer:", [round(each, 4) for each in late])
    assert late[3] < 0.1


async def _seconds_late(calls: Calls, watch: PodWatch, number: int) -> float:
    """How much later than we a peer is told that its chaincode has ended; may be less than 0."""
    name = f"told-{number}"
    await launched(calls, name, f"sleep {5 + number / 2}; exit {number}")
    found = await calls.inspect(name)
    assert "running" == found["State"]["Status"]
    key = labels.container_label(found["Id"])

    async def news() -> float:
        await pod_ends.until_ended(watch, key, records.CHAINCODE)
        return time.monotonic()

    async def answer() -> float:
        assert number == await calls.wait(name)
        return time.monotonic()

    async with asyncio.TaskGroup() as tasks:
        known, told = tasks.create_task(news()), tasks.create_task(answer())
    await calls.remove(name)
    return told.result() - known.result()


@beside
async def test_with_the_puller_beside_it_lives_the_same(cluster: Cluster, tmp_path: Path) -> None:
    """
    A layout that is asked for: chaincode is made once the puller has brought its layer.
    """
    options = {"puller": "beside", "settleSeconds": 0}
    async with (
        namespace(cluster) as name,
        Peitho.start(cluster, name, tmp_path, chaincode=options) as peitho,
        Calls.to(peitho) as calls,
    ):
        await launched(calls, "beside", "sleep 2; exit 3")
        (pod,) = pods(peitho, "beside")
        assert ["puller", "chaincode"] == [each["name"] for each in pod["spec"]["containers"]]
        assert 3 == await calls.wait("beside")


@beside
async def test_a_kill_for_memory_is_told(calls: Calls, peitho: Peitho) -> None:
    """
    137, and OOMKilled in inspect, log and Event.
    """
    await launched(calls, "greedy", "sleep 2; x=x; while true; do x=$x$x; done", Memory=64 << 20)

    assert 137 == await calls.wait("greedy")

    state = (await calls.inspect("greedy"))["State"]
    assert (True, 137) == (state["OOMKilled"], state["ExitCode"])
    await until(lambda: any("OOMKilled" in each["message"] for each in events(peitho, "greedy")))
    assert "OOMKilled" in peitho.log.read_text()
    await calls.remove("greedy")


@beside
async def test_a_signal_is_told_as_docker_tells_it(calls: Calls) -> None:
    """
    128 and its number.
    """
    await launched(calls, "signalled", "sleep 2; sh -c 'kill -USR1 $$'; exit $?")

    assert 128 + 10 == await calls.wait("signalled")
    await calls.remove("signalled")


@beside
async def test_conditions_of_a_wait_are_dockers(calls: Calls) -> None:
    """
    Without one, what does not run is answered at once; `next-exit` and `removed` wait for theirs.
    """
    await calls.make_image("image-waited", "sleep 2; exit 5")
    await calls.create("waited", "image-waited")
    assert 0 == await calls.wait("waited")
    async with asyncio.TaskGroup() as tasks:
        exits = tasks.create_task(calls.wait("waited", condition="next-exit"))
        removal = tasks.create_task(calls.wait("waited", condition="removed"))
        await calls.start("waited")

        assert 5 == await exits
        assert 5 == await calls.wait("waited")
        assert not removal.done()
        await calls.remove("waited")

    assert removal.result() in (0, 5)


@beside
@pytest.mark.parametrize("how", ["evicted", "by force"])
async def test_a_pod_that_is_taken_away_ends_the_wait(
    calls: Calls, peitho: Peitho, how: str
) -> None:
    """
    By the eviction API, as a drain does, or by force, as when its node is gone.
    """
    name = f"taken-{how.replace(' ', '-')}"
    await launched(calls, name, "while true; do sleep 0.1; done")
    (pod,) = await asyncio.to_thread(alive, peitho, name)
    async with asyncio.TaskGroup() as tasks:
        code = tasks.create_task(calls.wait(name))
        await asyncio.to_thread(_take_away, peitho, pod, how)

    assert code.result() in (137, 143)
    assert 204 == (await calls.launch(name, f"image-{name}")).status
    await calls.remove(name)


def _take_away(peitho: Peitho, pod: str, how: str) -> None:
    if how == "by force":
        peitho.kubectl("delete", "pod", pod, "--force", "--grace-period=0")
        return
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": peitho.namespace},
    }
    path = f"/api/v1/namespaces/{peitho.namespace}/pods/{pod}/eviction"
    peitho.cluster.run_kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))


async def test_attached_output_is_complete_before_and_after_the_start(
    calls: Calls, peitho: Peitho
) -> None:
    """
    Ten mebibytes come to both who are attached, byte for byte, and both end with the process.
    """
    script = (
        f"awk 'BEGIN{{for(i=0;i<{LINES};i++)printf \"%01023d\\n\",i}}'; "
        "until [ -e /tmp/end ]; do sleep 0.1; done"
    )
    await calls.make_image("image-talks", script)
    await calls.create("talks", "image-talks")
    async with asyncio.TaskGroup() as tasks:
        before = tasks.create_task(attach(peitho, "talks", version="/v1.47"))
        assert 204 == (await calls.start("talks")).status
        after = tasks.create_task(attach(peitho, "talks", version="/v1.47"))
        await until(lambda: _has_said_all(calls, "talks"), seconds=40)
        await calls.stop("talks")

    for said in (before.result(), after.result()):
        _, _, content = said.partition(b"\n")  # the script's first line is its own
        assert hashlib.sha256(OUTPUT).hexdigest() == hashlib.sha256(content).hexdigest()
    await calls.remove("talks")


async def _has_said_all(calls: Calls, name: str) -> bool:
    answer = await calls.call("GET", f"/v1.47/containers/{name}/logs?stdout=1&stderr=1")
    return len(str(answer.body)) >= len(OUTPUT)


@beside
async def test_a_stop_in_its_first_moments_is_no_failed_start(calls: Calls, peitho: Peitho) -> None:
    """
    The peer wants it to end, and its start had been one.
    """
    await calls.make_image("image-brief", "while true; do sleep 0.1; done")
    await calls.create("brief", "image-brief")
    async with asyncio.TaskGroup() as tasks:
        start = tasks.create_task(calls.start("brief"))
        await until(lambda: _runs(calls, "brief"))
        assert 204 == (await calls.stop("brief")).status

    assert 204 == start.result().status, start.result()
    assert "chaincode started" in peitho.log.read_text()
    await calls.remove("brief")


async def _runs(calls: Calls, name: str) -> bool:
    return bool("running" == (await calls.inspect(name))["State"]["Status"])


@pytest.mark.timeout(120)  # the kubelet measures disks every ten seconds
@beside
async def test_an_eviction_by_the_kubelet_is_told_in_its_words(
    cluster: Cluster, tmp_path: Path
) -> None:
    """
    A chaincode that fills the node's disk past its limit.
    """
    async with (
        namespace(cluster) as name,
        Peitho.start(cluster, name, tmp_path) as peitho,
        Calls.to(peitho) as calls,
    ):
        await asyncio.to_thread(_limit_disk, peitho)
        fill = "sleep 2; head -c 60000000 /dev/zero > /tmp/full; while true; do sleep 0.1; done"
        await launched(calls, "filling", fill)
        assert await calls.wait("filling") in (137, 143)
        error = (await calls.inspect("filling"))["State"]["Error"]
        assert "Evicted" in error
        assert "ephemeral" in error


def _limit_disk(peitho: Peitho) -> None:
    limits = [{"type": "Container", "default": {"ephemeral-storage": "20Mi"}}]
    peitho.cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "LimitRange",
            "metadata": {"name": "disk", "namespace": peitho.namespace},
            "spec": {"limits": limits},
        }
    )
