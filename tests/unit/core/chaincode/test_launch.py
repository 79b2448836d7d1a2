"""One launch, before a double of the API server; whole ones are in test_container.py."""

import asyncio
from pathlib import Path

import pytest

from peitho.core.chaincode import launch
from peitho.core.container import Container
from peitho.errors import StartFailed
from peitho.formats.kubernetes.objects import Manifest
from tests.support.kubernetes_double import always, refusal
from tests.support.launches import NAME, RUNNING, Scene, ended, scene
from tests.support.manifests import pod_of

LACKS = {"waiting": {"reason": "ErrImagePull", "message": "i/o timeout"}}


async def test_what_keeps_a_pod_away_is_told(tmp_path: Path) -> None:
    """
    A quota, by the API server's answer to a dry run; no Job is left.
    """
    async with scene(tmp_path) as it:
        container = await it.create()
        it.cluster.script("POST", "pods", always(lambda: refusal(403, "Forbidden", "quota: q")))

        with pytest.raises(StartFailed, match=f"^cannot start container {NAME}: quota: q$"):
            await container.start()

        assert ["secrets"] == it.kinds()


async def test_a_cluster_that_says_nothing_is_waited_for_as_long_as_is_set(
    tmp_path: Path,
) -> None:
    """
    And no longer.
    """
    async with scene(tmp_path, startTimeoutSeconds=0.05) as it:
        container = await it.create()

        with pytest.raises(StartFailed, match=r"not started within 0\.05 s"):
            await container.start()


async def test_a_launch_pulls_with_the_secrets_of_its_service_account_too(tmp_path: Path) -> None:
    """
    The one that an override names; Peitho's own image may be in a registry of theirs.
    """
    override = {"match": {"label": "*"}, "template": {"spec": {"serviceAccountName": "mine"}}}
    registry = {"pull-secret": "of-registry"}
    async with scene(tmp_path, overrides=[override], docker={"registry": registry}) as it:
        named = {"imagePullSecrets": [{"name": "mirror"}]}
        it.cluster.make("serviceaccounts/mine", {"metadata": {}, **named})
        container = await it.create()
        await it.launch(container)
        spec = pod_of(it.job)

    assert "mine" == spec["serviceAccountName"]
    assert [{"name": "of-registry"}, {"name": "mirror"}] == spec["imagePullSecrets"]


async def test_a_puller_that_a_node_lacks_for_a_moment_is_waited_for_as_an_init_container(
    tmp_path: Path,
) -> None:
    """
    What was begun without it is no launch: nothing of it is noted, told or left.
    """
    async with scene(tmp_path, puller="beside") as it:
        container = await it.create()
        async with asyncio.TaskGroup() as group:
            starting = group.create_task(container.start())
            waiting = group.create_task(container.wait("next-exit"))
            await it.cluster.until_asked("POST", "jobs")
            beside = pod_of(it.job)
            await it.send(container, ended(128), "ADDED", puller=LACKS)
            await it.cluster.until_asked("DELETE", f"jobs/{it.job['metadata']['name']}")
            await it.news.put({"type": "DELETED", "object": it.cluster.objects.pop("pods/pod")})
            await it.cluster.until_asked("POST", "jobs", times=2)
            before, it.pod_uid = pod_of(it.job), "uid-other"
            await it.tell(container, RUNNING, "ADDED")
            assert await starting is True
            assert not waiting.done()
            assert it.noted is None
            await it.tell(container, ended(3))
            assert 3 == (await waiting).exit_code

    assert ["puller", "chaincode"] == [each["name"] for each in beside["containers"]]
    assert ["puller"] == [each["name"] for each in before["initContainers"]]


@pytest.mark.parametrize("end", [ended(137, reason="OOMKilled"), ended(128, reason="StartError")])
async def test_chaincode_that_runs_though_its_puller_died_is_no_start(
    tmp_path: Path, end: Manifest
) -> None:
    """
    Before the puller has put its file, nothing keeps a kubelet from chaincode; no Job is left.
    """
    async with scene(tmp_path, puller="beside") as it:
        container = await it.create()
        async with asyncio.TaskGroup() as group:
            starting = group.create_task(_failed(container))
            await it.cluster.until_asked("POST", "jobs")
            await it.send(container, RUNNING, "ADDED", puller=end)
            said = await starting

        assert said.startswith(f"cannot start container {NAME}: puller failed: ")
        assert 1 == it.cluster.count("POST", "jobs")
        assert ["pods", "secrets"] == it.kinds()


async def test_a_job_that_cannot_make_way_for_another_fails_the_start(tmp_path: Path) -> None:
    """
    With the API server's word; what runs there is not taken for chaincode.
    """
    async with scene(tmp_path, puller="beside") as it:
        container = await it.create()
        async with asyncio.TaskGroup() as group:
            starting = group.create_task(_failed(container))
            await it.cluster.until_asked("POST", "jobs")
            job = f"jobs/{it.job['metadata']['name']}"
            it.cluster.rule("DELETE", job, always(lambda: refusal(422, "Invalid", "kept: why")))
            await it.send(container, RUNNING, "ADDED", puller=LACKS)
            said = await starting

        assert "cannot be deleted to try again: kept: why" in said
        assert 1 == it.cluster.count("POST", "jobs")
        assert 2 == it.cluster.count("DELETE", job)


async def test_a_job_that_makes_way_at_the_second_try_is_not_left(tmp_path: Path) -> None:
    """
    The start has failed by then, and the next one finds nothing of it.
    """
    async with scene(tmp_path, puller="beside") as it:
        container = await it.create()
        await _fail_to_make_way(it, container, refusals=1)

        assert ["pods", "secrets"] == it.kinds()


async def test_what_was_left_of_a_failed_start_is_no_start(tmp_path: Path) -> None:
    """
    It fails until the API server lets the Job go; the start after that is one.
    """
    async with scene(tmp_path, puller="beside") as it:
        container = await it.create()
        await _fail_to_make_way(it, container, refusals=3)

        for _ in range(2):
            assert "what began without its layer is still there: " in await _failed(container)
        assert ["pods", "secrets"] == it.kinds()

        it.cluster.objects.pop("pods/pod")
        it.pod_uid = "uid-other"
        async with asyncio.TaskGroup() as group:
            starting = group.create_task(container.start())
            await it.cluster.until_asked("POST", "jobs", times=4)
            await it.tell(container, RUNNING, "ADDED", puller=ended(0))
        assert starting.result() is True


async def test_a_job_that_is_still_there_is_no_second_launch(tmp_path: Path) -> None:
    """
    Deleted, as the API server says, and yet there: `start` does not answer that it was started.
    """
    async with scene(tmp_path, puller="beside") as it:
        container = await it.create()
        async with asyncio.TaskGroup() as group:
            starting = group.create_task(_failed(container))
            await it.cluster.until_asked("POST", "jobs")
            job = f"jobs/{it.job['metadata']['name']}"
            it.cluster.rule("DELETE", job, always(lambda: refusal(409, "Conflict", "again")))
            await it.send(container, RUNNING, "ADDED", puller=LACKS)
            await it.cluster.until_asked("DELETE", job)
            await it.news.put({"type": "DELETED", "object": it.cluster.objects.pop("pods/pod")})
            said = await starting

        assert "is still there" in said
        assert 2 == it.cluster.count("POST", "jobs")


async def _fail_to_make_way(it: Scene, container: Container, *, refusals: int) -> None:
    """A start whose Pod begins alone, and whose Job is not deleted at the first tries."""
    async with asyncio.TaskGroup() as group:
        starting = group.create_task(_failed(container))
        await it.cluster.until_asked("POST", "jobs")
        refused = [always(lambda: refusal(422, "Invalid", "kept: why"))] * refusals
        it.cluster.script("DELETE", f"jobs/{it.job['metadata']['name']}", *refused)
        await it.send(container, RUNNING, "ADDED", puller=LACKS)
    assert "cannot be deleted to try again: kept: why" in starting.result()


async def _failed(container: Container) -> str:
    """What a start fails with."""
    with pytest.raises(StartFailed) as raised:
        await container.start()
    return str(raised.value)


def test_a_failed_start_names_its_container() -> None:
    """
    Before the cluster's words.
    """
    assert "cannot start container a: why" == str(launch.failed("a", StartFailed("why")))
