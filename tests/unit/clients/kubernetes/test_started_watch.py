"""Events of nodes, against a double of the API server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog.testing

from peitho.clients.kubernetes.pod_watch import PodWatch
from peitho.clients.kubernetes.started_watch import StartedWatch
from peitho.formats.kubernetes.objects import Manifest
from tests.support import typed
from tests.support.kubernetes_double import ApiServer, Script, after, always, refusal, watch

KEY = "peitho/container"
AT = "2026-01-02T03:04:05Z"


def pod(version: int, state: Manifest) -> Manifest:
    """News of the Pod of container `a`, with a sidecar that runs."""
    statuses = [{"name": "chaincode", "state": state}, {"name": "proxy", "state": {"waiting": {}}}]
    metadata = {"name": "p", "labels": {KEY: "a"}, "resourceVersion": str(version)}
    return {
        "type": "MODIFIED",
        "object": {"metadata": metadata, "status": {"containerStatuses": statuses}},
    }


def started(container: str = "chaincode", *, reason: str = "Started", name: str = "p") -> Manifest:
    """News that a node has begun a process."""
    about = {"kind": "Pod", "name": name, "fieldPath": f"spec.containers{{{container}}}"}
    body = {"metadata": {"resourceVersion": "7"}, "involvedObject": about}
    return {"type": "ADDED", "object": body | {"reason": reason, "lastTimestamp": AT}}


WAITING: Manifest = {"waiting": {"reason": "PodInitializing"}}


@asynccontextmanager
async def watching(
    tmp_path: Path, *told: Script, pods: tuple[Script, ...] = ()
) -> AsyncIterator[tuple[ApiServer, PodWatch]]:
    """A watch of Pods whose chaincode is being made, with what nodes tell on top."""
    async with ApiServer.start() as server, asyncio.TaskGroup() as group:
        news = pods or (watch(pod(1, WAITING), stay=True),)
        server.script("WATCH", "pods", *news)
        server.objects["pods/p"] = pod(1, WAITING)["object"]
        async with server.client(tmp_path) as kubernetes:
            found = PodWatch(kubernetes, labels={})
            tasks = [group.create_task(found.run())]
            await typed.seen(found, "a", lambda seen: bool(seen.pod) or None)
            server.script("WATCH", "events", *told)
            nodes = StartedWatch(kubernetes, found, container="chaincode")
            tasks.append(group.create_task(nodes.run()))
            async with asyncio.timeout(3600):
                yield server, found
            for task in tasks:
                task.cancel()


async def until_running(found: PodWatch) -> str:
    """When the process began, once it is known to run."""
    return await typed.seen(
        found,
        "a",
        lambda seen: (
            seen.pod.started_at("chaincode")
            if seen.pod and seen.pod.is_running("chaincode")
            else None
        ),
    )


async def test_a_node_tells_before_the_status_does(tmp_path: Path) -> None:
    """
    Of this container alone; only such Events are asked for.
    """
    async with watching(tmp_path, watch(started(), stay=True)) as (server, found):
        assert AT == await until_running(found)

        seen = found.see("a").pod
        assert seen is not None
        assert not seen.is_running("proxy")
        assert seen.start_obstacle("chaincode") is None
        (query,) = [each[2] for each in server.requests if each[:2] == ("WATCH", "events")]
    assert (
        "involvedObject.kind=Pod,involvedObject.fieldPath=spec.containers{chaincode},reason=Started"
        == query["fieldSelector"]
    )


async def test_a_status_that_is_behind_takes_nothing_back(tmp_path: Path) -> None:
    """
    And one that knows more is believed.
    """
    word, more = asyncio.Event(), asyncio.Event()
    ended = {"terminated": {"exitCode": 3, "startedAt": AT, "finishedAt": AT}}
    pods = (
        watch(pod(1, WAITING)),
        after(word, watch(pod(2, WAITING))),
        after(more, watch(pod(3, ended), stay=True)),
    )
    async with watching(tmp_path, watch(started(), stay=True), pods=pods) as (_, found):
        await until_running(found)
        word.set()
        await typed.seen(
            found, "a", lambda seen: (seen.pod and seen.pod.resource_version == "2") or None
        )
        await until_running(found)
        more.set()
        end = await typed.seen(
            found, "a", lambda seen: seen.pod.exit_of("chaincode") if seen.pod else None
        )

    assert 3 == end.code


@pytest.mark.parametrize(
    "news",
    [
        started("proxy"),
        started(name="other"),
        started(reason="Killing"),
        {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "8"}}},
        {"type": "ADDED", "object": {"metadata": {"resourceVersion": "8"}}},
    ],
)
async def test_other_news_begin_nothing(tmp_path: Path, news: Manifest) -> None:
    """
    Whatever the API server sends.
    """
    async with watching(tmp_path, watch(news, stay=True)) as (server, found):
        await server.until_asked("WATCH", "events", times=2)  # after a silence

        seen = found.see("a").pod
        assert seen is None or not seen.is_running("chaincode")


async def test_it_goes_on_where_it_was(tmp_path: Path) -> None:
    """
    The API server ends each watch after a while.
    """
    async with watching(tmp_path, watch(started()), watch(stay=True)) as (server, _):
        await server.until_asked("WATCH", "events", times=2)

        versions = [
            each[2]["resourceVersion"]
            for each in server.requests
            if each[:2] == ("WATCH", "events")
        ]
    assert ["", "7"] == versions[:2]


@pytest.mark.parametrize(
    "trouble",
    [
        always(lambda: refusal(410, "Expired", "too old")),
        always(lambda: refusal(503, "", "busy")),
        watch(b"no json\n"),
        watch({"type": "ADDED", "object": {}}),
    ],
)
async def test_after_trouble_it_is_begun_anew(tmp_path: Path, trouble: Script) -> None:
    """
    All that is there is told again, which changes nothing.
    """
    async with watching(tmp_path, trouble, watch(started(), stay=True)) as (_, found):
        assert AT == await until_running(found)


async def test_without_the_right_it_is_asked_for_seldom(tmp_path: Path) -> None:
    """
    The status tells then; the right may be given later.
    """
    no = always(lambda: refusal(403, "Forbidden", "cannot watch events"))
    with structlog.testing.capture_logs() as logs:
        async with watching(tmp_path, no, watch(started(), stay=True)) as (_, found):
            loop = asyncio.get_running_loop()
            began = loop.time()
            await until_running(found)

            assert 600 < loop.time() - began

    assert "events not watched" in [each["event"] for each in logs]
