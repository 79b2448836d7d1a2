"""A cluster that has no room, leave, disk or image for a Pod: its words reach the peer's error."""

import asyncio
import re
import time
from pathlib import Path

import pytest

from tests.lab.beside import beside
from tests.lab.cluster import Cluster
from tests.lab.peitho import Peitho, namespace
from tests.lab.registry import registry
from tests.support.attached import built
from tests.support.docker_calls import Calls, archive, context
from tests.support.observe import builds, until

IMAGE = "image-refused"
ROOM = {"startTimeoutSeconds": 4, "resources": {"cpuRequest": "1000"}}
# Of a registry that is none.
BASE = "docker.io/hyperledger/fabric-baseos:2.5"
NOWHERE = "127.0.0.1:1/hyperledger/fabric-nosuch:9.9"

pytestmark = pytest.mark.timeout(120)  # the kubelet measures disks every ten seconds


async def _refusals(calls: Calls) -> list[str]:
    """Why neither a build nor a chaincode starts; nothing of them is left to be tried on."""
    await calls.make_image(IMAGE)
    await calls.create("refused", IMAGE)
    build = await calls.create_build("true")
    async with asyncio.TaskGroup() as tasks:
        starts = [tasks.create_task(calls.start(each)) for each in ("refused", build)]
    await calls.remove(build)
    assert [500, 500] == [start.result().status for start in starts]
    assert [] == await asyncio.to_thread(calls.peitho.objects, "jobs")
    return [start.result().message for start in starts]


@beside
async def test_no_node_that_has_room(cluster: Cluster, tmp_path: Path) -> None:
    """
    The scheduler's own reason, once the time to start is over.
    """
    async with (
        namespace(cluster) as name,
        Peitho.start(cluster, name, tmp_path, builder=ROOM, chaincode=ROOM) as peitho,
        Calls.to(peitho) as calls,
    ):
        for message in await _refusals(calls):
            assert "not started within 4 s: Unschedulable: " in message
            assert "Insufficient cpu" in message


@beside
async def test_pod_security_that_forbids_it(cluster: Cluster, tmp_path: Path) -> None:
    """
    A namespace that was made strict while Peitho runs: at once, with what it wants changed.

    From version 1.35 on it admits the user 0 in a user namespace (`test_java.py`).
    """
    root = {"user": 0}
    async with (
        namespace(cluster, level="privileged") as name,
        Peitho.start(cluster, name, tmp_path, builder=root, chaincode=root) as peitho,
        Calls.to(peitho) as calls,
    ):
        level = "pod-security.kubernetes.io/enforce"
        enforce = (f"{level}=restricted", f"{level}-version=v1.34")
        label = ("label", "namespace", name, "--overwrite", *enforce)
        await asyncio.to_thread(cluster.run_kubectl, *label)
        for message in await _refusals(calls):
            assert 'violates PodSecurity "restricted' in message
            assert "runAsNonRoot" in message or "runAsUser=0" in message


@beside
async def test_a_quota_that_is_used_up(cluster: Cluster, tmp_path: Path) -> None:
    """
    It is named, with its own words.
    """
    async with (
        namespace(cluster) as name,
        Peitho.start(cluster, name, tmp_path) as peitho,
        Calls.to(peitho) as calls,
    ):
        quota = ("create", "quota", "no-pods", "--hard=pods=0")
        await asyncio.to_thread(peitho.kubectl, *quota)
        for message in await _refusals(calls):
            assert "exceeded quota: no-pods" in message


@beside
async def test_a_build_that_fills_the_nodes_disk(cluster: Cluster, tmp_path: Path) -> None:
    """
    The kubelet ends it, and the output that the peer shows says why.
    """
    disk = {"resources": {"limits": {"ephemeral-storage": "20Mi"}}, "name": "build"}
    template = {"spec": {"containers": [disk]}}
    async with (
        namespace(cluster) as name,
        Peitho.start(cluster, name, tmp_path, builder={"template": template}) as peitho,
        Calls.to(peitho) as calls,
    ):
        build = await calls.create_build("head -c 60000000 /dev/zero > /tmp/full; sleep 100")
        code, output = await built(calls, build)
        await calls.remove(build)

    assert code in (137, 143)
    last = output.splitlines()[-1]
    assert b"Evicted" in last
    assert b"ephemeral" in last


@beside
async def test_a_builder_image_that_cannot_be_pulled(cluster: Cluster, tmp_path: Path) -> None:
    """
    The start says which image and why, once the kubelet is sure; nothing is left of it.
    """
    async with (
        namespace(cluster) as name,
        Peitho.start(cluster, name, tmp_path) as peitho,
        Calls.to(peitho) as calls,
    ):
        build = await calls.create_build("true", image=NOWHERE)
        answer = await calls.start(build)

        assert (500, True) == (answer.status, "fabric-nosuch:9.9" in answer.message)
        assert re.search("ErrImagePull|ImagePullBackOff", answer.message)
        await calls.remove(build)
        await until(lambda: not builds(peitho))


@beside
async def test_a_runtime_image_that_cannot_be_pulled(cluster: Cluster, tmp_path: Path) -> None:
    """
    The build says which image and why, since no launch would run; nothing of the trial is left.
    """
    async with (
        namespace(cluster) as name,
        Peitho.start(cluster, name, tmp_path) as peitho,
        Calls.to(peitho) as calls,
    ):
        package = archive({"chaincode": (0o755, b"x")})
        dockerfile = f"FROM {NOWHERE}\nADD binpackage.tar /usr/local/bin\n"
        answer = await calls.build("image-nosuch", context(package, dockerfile))

        assert (500, True) == (answer.status, "fabric-nosuch:9.9" in answer.message)
        assert re.search("ErrImagePull|ImagePullBackOff", answer.message)
        assert 404 == (await calls.create("nosuch", "image-nosuch")).status
        await until(lambda: not peitho.objects("jobs"))


@beside
async def test_an_image_that_its_registry_does_not_have(cluster: Cluster, tmp_path: Path) -> None:
    """
    Builder and runtime: told at the node's first word, and once, as peers show it.
    """
    async with (
        namespace(cluster) as name,
        Peitho.start(cluster, name, tmp_path) as peitho,
        Calls.to(peitho) as calls,
    ):
        with registry(tmp_path / "registry") as running:
            missing = f"{running.address}/hyperledger/fabric-nosuch:9.9"
            build = await calls.create_build("true", image=missing)
            dockerfile = f"FROM {missing}\nADD binpackage.tar /usr/local/bin\n"
            package = context(archive({"chaincode": (0o755, b"x")}), dockerfile)
            began = time.monotonic()
            async with asyncio.TaskGroup() as tasks:
                started = tasks.create_task(calls.start(build))
                built_image = tasks.create_task(calls.build("image-nosuch", package))
            seconds = time.monotonic() - began
        said = await calls.call("GET", f"/containers/{build}/logs", params={"stderr": "1"})
        await calls.remove(build)

        for answer in (started.result(), built_image.result()):
            assert 500 == answer.status
            assert "not found" in answer.message
            assert 1 == answer.message.count("ErrImagePull")
        assert "" == said.body
        assert 5 > seconds


@beside
async def test_a_command_that_the_image_lacks(cluster: Cluster, tmp_path: Path) -> None:
    """
    The process cannot be begun: the start says so, in the runtime's words.
    """
    async with (
        namespace(cluster) as name,
        Peitho.start(cluster, name, tmp_path) as peitho,
        Calls.to(peitho) as calls,
    ):
        await calls.make_image(IMAGE)
        created = {"Image": IMAGE, "Cmd": ["/no/such/command"]}
        await calls.call("POST", "/containers/create", params={"name": "lacks"}, json=created)
        answer = await calls.start("lacks")

        assert 500 == answer.status
        assert "StartError" in answer.message
        assert "/no/such/command" in answer.message
        await calls.remove("lacks")


@beside
async def test_a_template_that_lacks_what_it_names(cluster: Cluster, tmp_path: Path) -> None:
    """
    A ConfigMap, a Secret or a volume: told within seconds, with its name.
    """
    lacking = {
        "configmap": {
            "volumes": [{"name": "v", "configMap": {"name": "mine"}}],
            "containers": [
                {"name": "chaincode", "volumeMounts": [{"name": "v", "mountPath": "/mine"}]}
            ],
        },
        "secret": {"containers": [_with_secret("mine")]},
        "persistentvolumeclaim": {
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "mine"}}]
        },
    }
    async with namespace(cluster) as name:
        for kind, spec in lacking.items():
            folder = tmp_path / kind
            folder.mkdir()
            template = {"template": {"spec": spec}}
            async with (
                Peitho.start(cluster, name, folder, chaincode=template) as peitho,
                Calls.to(peitho) as calls,
            ):
                await calls.make_image(IMAGE)
                await calls.create("lacking", IMAGE)
                began = time.monotonic()
                answer = await calls.start("lacking")

                assert 500 == answer.status
                assert f'{kind} "mine" not found' in answer.message
                assert 15 > time.monotonic() - began
                assert [] == peitho.objects("jobs")
                await calls.remove("lacking")


@beside
async def test_a_sidecar_that_restarts(cluster: Cluster, tmp_path: Path) -> None:
    """
    It is not the chaincode, and the chaincode starts.
    """
    script = "test -e /tmp/again && exec sleep 1000; touch /tmp/again; exit 1"
    sidecar = {
        "name": "proxy",
        "image": BASE,
        "restartPolicy": "Always",
        "command": ["/bin/sh", "-c", script],
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    restricted = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    spec = {
        "initContainers": [sidecar | {"securityContext": restricted}],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }
    async with (
        namespace(cluster) as name,
        Peitho.start(cluster, name, tmp_path, chaincode={"template": {"spec": spec}}) as peitho,
        Calls.to(peitho) as calls,
    ):
        await calls.make_image(IMAGE)
        await calls.create("beside", IMAGE)

        assert 204 == (await calls.start("beside")).status
        assert "running" == (await calls.inspect("beside"))["State"]["Status"]
        await calls.remove("beside")


def _with_secret(name: str) -> dict[str, object]:
    reference = {"secretKeyRef": {"name": name, "key": "k"}}
    return {"name": "chaincode", "env": [{"name": "A", "valueFrom": reference}]}
