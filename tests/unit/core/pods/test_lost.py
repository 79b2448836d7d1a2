"""Pods whose node is gone, before a double of the API server where they stay for ever."""

import asyncio
import json
from pathlib import Path

from tests.support.launches import SPEC, Scene, scene
from tests.support.observe import until


def deletions(it: Scene) -> list[int]:
    """The grace of each deletion of the Pod."""
    return [
        json.loads(body)["gracePeriodSeconds"]
        for method, path, _, body in it.cluster.requests
        if (method, path) == ("DELETE", "pods/pod")
    ]


async def test_chaincode_on_a_lost_node_is_launched_again_at_once(tmp_path: Path) -> None:
    """
    The peer's stop, kill and remove take less time together than it has, and its wait is answered.
    """
    async with scene(tmp_path) as it, asyncio.TaskGroup() as group:
        container = await it.create()
        await it.launch(container)
        it.lose_node()
        waiting = group.create_task((await it.find()).wait())
        await asyncio.sleep(0)
        began = asyncio.get_running_loop().time()

        assert await (await it.find()).stop() is True
        assert await (await it.find()).stop() is False
        await (await it.find()).remove()

        assert asyncio.get_running_loop().time() - began < 20
        ended = await waiting
        assert (137, "node lost") == (ended.exit_code, ended.reason)
        again = await it.parts.services.containers.create("dev-peer0-mycc-1.0", SPEC)
        assert again.id != container.id
        await it.cluster.until_asked("DELETE", "pods/pod", times=2)
        assert [1, 0] == deletions(it)


async def test_a_deletion_by_somebody_else_has_its_own_grace(tmp_path: Path) -> None:
    """
    As by a drain, or of the taint of an unreachable node; the end is noted.
    """
    async with scene(tmp_path) as it:
        container = await it.create()
        await it.launch(container)
        it.lose_node()
        await it.terminate(grace_seconds=30)
        began = asyncio.get_running_loop().time()

        ended = await (await it.find()).wait()

        assert (137, "node lost") == (ended.exit_code, ended.reason)
        assert 35 < asyncio.get_running_loop().time() - began < 60
        await it.cluster.until_asked("DELETE", "pods/pod")
        assert [0] == deletions(it)
        await until(lambda: it.noted is not None)
        noted = it.noted
        assert noted is not None
        assert (137, "node lost") == (noted.code, noted.reason)


async def test_a_watch_that_is_silent_holds_up_no_stop(tmp_path: Path) -> None:
    """
    The API server has the Pod for ever, and all calls that end it share one deadline.
    """
    async with scene(tmp_path) as it:
        container = await it.create()
        await it.launch(container)
        it.lose_node(silently=True)
        began = asyncio.get_running_loop().time()

        assert await (await it.find()).stop() is True
        assert await (await it.find()).stop() is False
        await (await it.find()).remove()

        assert 15 < asyncio.get_running_loop().time() - began < 25
