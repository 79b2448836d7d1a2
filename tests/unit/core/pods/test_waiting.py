"""Waiting for Pods, as a watch against a double of the API server tells of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from peitho.clients.kubernetes.api import Kubernetes
from peitho.clients.kubernetes.pod_watch import PodWatch
from peitho.core.pods import waiting
from peitho.errors import StartFailed
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.records import Exit
from tests.support.kubernetes_double import ApiServer, watch

KEY = "peitho/container"
AT = "2026-01-02T03:04:05Z"
RUNNING = {"running": {"startedAt": AT}}
ENDED = {"terminated": {"exitCode": 3, "startedAt": AT, "finishedAt": AT}}
PULL = {"waiting": {"reason": "ErrImagePull", "message": "429 Too Many Requests"}}
MISSING = {"waiting": {"reason": "ErrImagePull", "message": "manifest unknown"}}
CONFIG = {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "x" not found'}}
BAD_NAME = {"waiting": {"reason": "InvalidImageName", "message": "no"}}


def told(
    version: int, state: Manifest | None = None, kind: str = "MODIFIED", **more: Any
) -> Manifest:
    """News of container `main` of Pod `a`."""
    statuses = [{"name": "main", "image": "i:1", "state": state}] if state else []
    metadata = {"name": "p", "labels": {KEY: "a"}, "resourceVersion": str(version)}
    body = {"metadata": metadata, "status": {"containerStatuses": statuses} | more}
    return {"type": kind, "object": body}


@asynccontextmanager
async def watching(tmp_path: Path, *news: Manifest) -> AsyncIterator[tuple[Kubernetes, PodWatch]]:
    """A watch that tells these news, one by one, and then nothing."""
    async with ApiServer.start() as server, asyncio.TaskGroup() as group:
        server.script("WATCH", "pods", *[watch(each) for each in news])
        async with server.client(tmp_path) as kubernetes:
            cache = PodWatch(kubernetes, labels={})
            task = group.create_task(cache.run())
            yield kubernetes, cache
            task.cancel()


async def start(tmp_path: Path, *news: Manifest, seconds: float = 10) -> None:
    """Wait for the start of container `main` of Pod `a`."""
    async with watching(tmp_path, *news) as (_, cache):
        await waiting.until_started(cache, "a", "main", seconds=seconds)


async def failure(tmp_path: Path, *news: Manifest, seconds: float = 10) -> str:
    """Why it did not start."""
    async with watching(tmp_path, *news) as (_, cache):
        with pytest.raises(StartFailed) as raised:
            await waiting.until_started(cache, "a", "main", seconds=seconds)
    return str(raised.value)


class TestStarting:
    @pytest.mark.parametrize(
        "news",
        [
            [told(1), told(2, {"waiting": {"reason": "ContainerCreating"}}), told(3, RUNNING)],
            [told(1, PULL), told(2, PULL), told(3, RUNNING)],
            [told(1, ENDED, phase="Failed")],
        ],
        ids=["at once", "after a failed pull", "ended already"],
    )
    async def test_a_process_that_runs_or_ran_was_started(
        self, tmp_path: Path, news: list[Manifest]
    ) -> None:
        """
        One failed pull is not the end, and a short life is one.
        """
        await start(tmp_path, *news)

    async def test_a_pull_that_fails_three_times_is_an_answer(self, tmp_path: Path) -> None:
        """
        In the cluster's words, long before the time is over.
        """
        news = [told(version, PULL) for version in (1, 2, 3)]

        assert "ErrImagePull: i:1: 429 Too Many Requests" == await failure(tmp_path, *news)

    async def test_an_image_that_is_not_there_is_an_answer_at_once(self, tmp_path: Path) -> None:
        """
        At the first word of the kubelet.
        """
        assert "ErrImagePull: i:1: manifest unknown" == await failure(tmp_path, told(1, MISSING))

    async def test_what_somebody_has_to_bring_is_an_answer_within_seconds(
        self, tmp_path: Path
    ) -> None:
        """
        The kubelet says it once, and tries on without a word.
        """
        began = asyncio.get_running_loop().time()
        found = await failure(tmp_path, told(1, CONFIG), seconds=240)

        assert 'CreateContainerConfigError: i:1: secret "x" not found' == found
        assert 10 > asyncio.get_running_loop().time() - began

    async def test_what_comes_in_time_is_waited_for(self, tmp_path: Path) -> None:
        """
        A Secret that is made in the same moment.
        """
        await start(tmp_path, told(1, CONFIG), told(2, RUNNING))

    async def test_what_no_retry_mends_is_an_answer_at_once(self, tmp_path: Path) -> None:
        """
        A name that is no reference stays none.
        """
        assert "InvalidImageName: i:1: no" == await failure(tmp_path, told(1, BAD_NAME))

    async def test_a_pod_that_is_not_scheduled_has_all_the_time(self, tmp_path: Path) -> None:
        """
        A node may come; what was lacking is told in the end.
        """
        lacking = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": "0/1 nodes",
        }
        news = [told(version, conditions=[lacking]) for version in range(1, 6)]

        found = await failure(tmp_path, *news, seconds=0.2)

        assert "not started within 0.2 s: Unschedulable: 0/1 nodes" == found

    async def test_a_cluster_that_says_nothing_is_told_as_such(self, tmp_path: Path) -> None:
        """
        There is always a sentence.
        """
        found = await failure(tmp_path, seconds=0.05)

        assert "not started within 0.05 s: Timeout: the cluster gave no reason" == found

    async def test_a_pod_that_fails_before_its_process_is_no_start(self, tmp_path: Path) -> None:
        """
        An eviction while the image is pulled.
        """
        news = told(1, phase="Failed", reason="Evicted", message="low on memory")

        assert "the Pod failed: Evicted: low on memory" == await failure(tmp_path, news)

    async def test_a_pod_that_is_deleted_before_its_process_is_no_start(
        self, tmp_path: Path
    ) -> None:
        """
        By hand, for instance.
        """
        news = (told(1), told(2, kind="DELETED"))

        assert "the Pod failed: the Pod was deleted" == await failure(tmp_path, *news)


class TestEnding:
    @pytest.mark.parametrize(
        ("news", "expected"),
        [
            ([told(1, RUNNING), told(2, ENDED)], Exit(3, "", AT)),
            ([told(1, RUNNING), told(2, ENDED, kind="DELETED")], Exit(3, "", AT)),
            ([told(1, RUNNING), told(2, RUNNING, "DELETED")], Exit(137, "the Pod was deleted")),
        ],
        ids=["by itself", "and its Pod is gone", "with its Pod"],
    )
    async def test_an_end_is_told_once_it_is_known(
        self, tmp_path: Path, news: list[Manifest], expected: Exit
    ) -> None:
        """
        A Pod's last state has the code; one that vanished was killed.
        """
        async with watching(tmp_path, *news) as (_, cache):
            assert expected == await waiting.until_ended(cache, "a", "main")

    async def test_a_pod_that_was_never_seen_has_not_ended(self, tmp_path: Path) -> None:
        """
        "Not in the watch's cache yet" is not "gone".
        """
        async with watching(tmp_path) as (_, cache):
            await cache.synced.wait()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await waiting.until_ended(cache, "a", "main")


async def test_a_pod_that_no_watch_tells_of_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Until the API server has it no more.
    """
    monkeypatch.setattr(waiting, "_LOOK_SECONDS", 0.01)
    async with ApiServer.start() as server, server.client(tmp_path) as kubernetes:
        server.objects["pods/p"] = {"metadata": {"name": "p", "labels": {KEY: "a"}}}
        async with asyncio.TaskGroup() as group:
            looking = group.create_task(waiting.until_none(kubernetes, {KEY: "a"}))
            await server.until_asked("GET", "pods", times=3)
            assert not looking.done()
            del server.objects["pods/p"]

    assert Exit(137, "the Pod was deleted") == looking.result()


class TestFirst:
    async def test_the_first_result_is_taken_and_the_others_are_cancelled(self) -> None:
        """
        Whichever news is first.
        """
        ended = asyncio.Event()

        async def waits() -> str:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            return "never"

        async def tells() -> str:
            await asyncio.sleep(0)
            return "news"

        assert "news" == await waiting.first(waits(), tells())
        assert ended.is_set()

    async def test_the_first_error_is_raised_as_it_is(self) -> None:
        """
        Not in a group.
        """

        async def fails() -> str:
            raise StartFailed("why")

        async def waits() -> str:
            await asyncio.Event().wait()
            return "never"

        with pytest.raises(StartFailed, match=r"^why$"):
            await waiting.first(waits(), fails())
