"""The Role in deploy/: all that Peitho does is allowed by it, and it allows nothing else."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.lab import pairs
from tests.lab import registry as lab
from tests.lab.asked import AskedApi, Right
from tests.lab.cluster import Cluster
from tests.lab.pairs import DELIVERY, PODS, REGISTRY, Pair
from tests.lab.peitho import Peitho, namespace, shipped
from tests.lab.registry import Running
from tests.support.docker_calls import Calls, archive
from tests.support.observe import alive, builds, until

MODES = (DELIVERY, REGISTRY)
_MOUNT = {"name": "more", "mountPath": "/more"}
LACKING = {
    "match": {"label": "lacking"},
    "template": {
        "spec": {
            "volumes": [{"name": "more", "configMap": {"name": "is-not-there"}}],
            "containers": [{"name": "chaincode", "volumeMounts": [_MOUNT]}],
        }
    },
}
# From so many on, Jobs are listed: `clients/kubernetes/statuses.py`.
MANY = 21


@pytest.fixture(scope="module")
def used() -> set[Right]:
    """The rights that all stories have used."""
    return set()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def registry(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Running]:
    """A registry that wants a password, so that nodes need a pull Secret."""
    del cluster  # its images, which are mirrored, are made by then
    with lab.registry(tmp_path_factory.mktemp("registry"), password=True) as running:
        await pairs.mirror(running)
        yield running


@pytest.mark.timeout(120)
@pytest.mark.parametrize("mode", MODES)
async def test_a_whole_life_needs_no_other_right(
    cluster: Cluster, registry: Running, tmp_path: Path, mode: str, used: set[Right]
) -> None:
    """
    Build, launch, upload, log, crash, relaunch, restart, failed start, sweep and removal.
    """
    settings = Pair(PODS, mode).settings(registry)
    settings["sweeper"] = {"interval": 1, "retention": 0}
    settings["chaincode"] = {"startTimeoutSeconds": 20, "overrides": [LACKING]}
    async with (
        AskedApi.start(cluster) as api,
        namespace(cluster) as name,
        Peitho.start(cluster, name, tmp_path, api_server=api.url, **settings) as peitho,
    ):
        async with Calls.to(peitho) as calls:
            await _builds(calls)
            await _lives(calls, peitho)
            await _cannot_start(calls)
            for number in range(MANY):
                await calls.create(f"idle-{number}", "lives")
            await peitho.end()
            await peitho.begin()
            await _is_removed(calls, peitho)
        log = peitho.log.read_text()
        used |= api.rights

    assert [] == [line for line in log.splitlines() if "forbidden" in line]
    assert set() == used - granted()


def test_no_right_is_left_over(used: set[Right]) -> None:
    """
    Each verb of the Role was used in a story before.
    """
    assert set() == granted() - used


def granted() -> set[Right]:
    """What the Role grants, right by right."""
    objects = shipped("chaincode.yaml", peitho="peitho", chaincode="peitho-chaincode")
    (role,) = (each for each in objects if each["kind"] == "Role")
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


async def _builds(calls: Calls) -> None:
    build = await calls.create_build("cat /chaincode/input/a > /chaincode/output/b")
    await calls.put(build, archive({"a": (0o644, b"source")}))
    assert 204 == (await calls.start(build)).status
    assert 0 == await calls.wait(build)
    await calls.remove(build)
    await calls.make_image("lives", "sleep 4; exit 3")


async def _lives(calls: Calls, peitho: Peitho) -> None:
    """It is launched, talks, crashes, is launched again, and is stopped."""
    assert 204 == (await calls.launch("lives", "lives")).status
    answer = await calls.call("GET", "/containers/lives/logs?stdout=1&stderr=1")
    assert "started with" in str(answer.body)
    assert 3 == await calls.wait("lives")
    await until(
        lambda: bool(peitho.objects("events", labels="app.kubernetes.io/managed-by=peitho"))
    )
    assert 204 == (await calls.launch("lives", "lives")).status
    await calls.stop("lives")


async def _cannot_start(calls: Calls) -> None:
    """The cluster is asked for the reason."""
    await calls.create("lacking", "lives", env=["CORE_CHAINCODE_ID_NAME=lacking:1"])
    answer = await calls.start("lacking")
    assert 500 == answer.status
    assert "is-not-there" in answer.message


async def _is_removed(calls: Calls, peitho: Peitho) -> None:
    """What is over is swept; a build that its peer left is ended."""
    assert 204 == (await calls.launch("swept", "lives")).status
    assert 3 == await calls.wait("swept")
    await calls.remove("lives")
    await calls.remove("lacking")
    await until(lambda: not alive(peitho, "swept") and not builds(peitho))
