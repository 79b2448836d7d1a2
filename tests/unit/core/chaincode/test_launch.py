"""One launch, before a double of the API server; whole ones are in test_container.py."""

import asyncio
from pathlib import Path

import pytest

from peitho.core.chaincode import launch
from peitho.errors import StartFailed
from tests.support.kubernetes_double import always, refusal
from tests.support.launches import NAME, RUNNING, ended, scene
from tests.support.manifests import pod_of


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


async def test_a_puller_that_a_node_lacks_for_a_moment_is_waited_for_as_an_init_container(
    tmp_path: Path,
) -> None:
    """
    What was begun without it is no launch: nothing of it is noted, told or left.
    """
    lacks = {"waiting": {"reason": "ErrImagePull", "message": "i/o timeout"}}
    async with scene(tmp_path, puller="beside") as it:
        container = await it.create()
        async with asyncio.TaskGroup() as group:
            starting = group.create_task(container.start())
            waiting = group.create_task(container.wait("next-exit"))
            await it.cluster.until_asked("POST", "jobs")
            beside = pod_of(it.job)
            await it.send(container, ended(128), "ADDED", puller=lacks)
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


def test_a_failed_start_names_its_container() -> None:
    """
    Before the cluster's words.
    """
    assert "cannot start container a: why" == str(launch.failed("a", StartFailed("why")))
