"""A node that is gone: its Pods stay Terminating for ever, as no kubelet says that they ended."""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.lab.beside import beside
from tests.lab.cluster import Cluster
from tests.lab.peitho import Peitho, namespace
from tests.support.docker_calls import Calls
from tests.support.observe import pods, until

AT = "2026-01-02T03:04:05Z"


@asynccontextmanager
async def node(cluster: Cluster) -> AsyncIterator[str]:
    """A node without a kubelet, for as long as the test needs it."""
    name = f"lost-{secrets.token_hex(4)}"
    body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
    await asyncio.to_thread(cluster.run_kubectl, "create", "-f", "-", stdin=json.dumps(body))
    try:
        yield name
    finally:
        await asyncio.to_thread(cluster.run_kubectl, "delete", "node", name)


def say_running(peitho: Peitho, pod: str, *containers: str) -> None:
    """Say of a Pod what its kubelet would."""
    running = {"state": {"running": {"startedAt": AT}}, "ready": True, "restartCount": 0}
    statuses = [{"name": each, "image": "i", "imageID": "", **running} for each in containers]
    patch = json.dumps({"status": {"phase": "Running", "containerStatuses": statuses}})
    peitho.kubectl("patch", "pod", pod, "--subresource=status", "--type=merge", "-p", patch)


@beside
async def test_chaincode_on_a_lost_node_is_launched_again(cluster: Cluster, tmp_path: Path) -> None:
    """
    Its peer's wait is answered, and its stop, kill and remove are done well within its patience.
    """
    async with (
        node(cluster) as lost,
        namespace(cluster) as name,
        Peitho.start(
            cluster,
            name,
            tmp_path,
            chaincode={"settleSeconds": 0, "template": {"spec": {"nodeName": lost}}},
        ) as peitho,
        Calls.to(peitho) as calls,
    ):
        await calls.make_image("image-lost")
        assert 201 == (await calls.create("lost", "image-lost")).status
        async with asyncio.TaskGroup() as tasks:
            start = tasks.create_task(calls.start("lost"))
            await until(lambda: bool(pods(peitho, "lost")))
            (pod,) = pods(peitho, "lost")
            await asyncio.to_thread(say_running, peitho, pod["metadata"]["name"], "chaincode")
        assert 204 == start.result().status

        async with asyncio.TaskGroup() as tasks:
            wait = tasks.create_task(calls.wait("lost"))
            began = time.monotonic()
            stopped = await calls.call("POST", "/containers/lost/stop?t=0")
            killed = await calls.call("POST", "/containers/lost/kill")
            removed = await calls.call("DELETE", "/containers/lost?force=1")
            seconds = time.monotonic() - began
        assert [204, 409, 204] == [stopped.status, killed.status, removed.status]
        assert 137 == wait.result()
        assert seconds < 25
        assert 201 == (await calls.create("lost", "image-lost")).status
        await until(lambda: not pods(peitho, "lost"))
        await calls.remove("lost")


@beside
async def test_a_build_on_a_lost_node_ends(cluster: Cluster, tmp_path: Path) -> None:
    """
    Once its Pod is deleted, as a node's taint has it after a while: the peer is told.
    """
    async with (
        node(cluster) as lost,
        namespace(cluster) as space,
        Peitho.start(
            cluster, space, tmp_path, builder={"template": {"spec": {"nodeName": lost}}}
        ) as peitho,
        Calls.to(peitho) as calls,
    ):
        build = await calls.create_build("true")
        async with asyncio.TaskGroup() as tasks:
            start = tasks.create_task(calls.start(build))
            await until(lambda: bool(peitho.objects("pods")))
            (pod,) = peitho.objects("pods")
            name = pod["metadata"]["name"]
            await asyncio.to_thread(say_running, peitho, name, "build", "helper")
            delete = ("delete", "pod", name, "--grace-period=1", "--wait=false")
            await asyncio.to_thread(peitho.kubectl, *delete)
        assert start.result().status in (204, 500)
        assert 137 == await calls.wait(build)
        await until(lambda: not peitho.objects("pods"))
