"""The watched cache of Pods, against a double of the API server that breaks its watches."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog.testing

from peitho.clients.kubernetes.pod_watch import PodWatch, Sighting
from peitho.formats.kubernetes.objects import Manifest
from tests.support import typed
from tests.support.kubernetes_double import (
    ApiServer,
    Script,
    after,
    always,
    refusal,
    watch,
)

KEY = "peitho/container"
WATCH = ("WATCH", "pods")


def pod(key: str, version: int = 1, **status: Any) -> Manifest:
    """A Pod of a container, at a version."""
    return {
        "metadata": {
            "name": f"pod-{key}",
            "labels": {"app": "peitho", KEY: key},
            "resourceVersion": str(version),
            "managedFields": ["long"],
        },
        "spec": {"long": "too"},
        "status": status,
    }


def event(kind: str, body: Manifest) -> Manifest:
    """One event of a watch."""
    return {"type": kind, "object": body}


def bookmark(version: int) -> Manifest:
    """An event that tells a version, and of no Pod."""
    return event("BOOKMARK", {"metadata": {"resourceVersion": str(version)}})


@asynccontextmanager
async def watching(server: ApiServer, directory: Path) -> AsyncIterator[PodWatch]:
    """The cache, while it is kept up."""
    async with server.client(directory) as kubernetes, asyncio.TaskGroup() as group:
        found = PodWatch(kubernetes, labels={"app": "peitho"})
        task = group.create_task(found.run(), name="pod watch")
        try:
            yield found
        finally:
            task.cancel()


def version_of(sighting: Sighting) -> str | None:
    """The version of a Pod that is there."""
    if sighting.pod is None or sighting.gone:
        return None
    return sighting.pod.resource_version


async def until_version(cache: PodWatch, key: str, version: int) -> None:
    """Return once a Pod is known at a version."""
    await typed.seen(cache, key, lambda seen: version_of(seen) == str(version) or None)


def versions_watched(server: ApiServer) -> list[str]:
    """From where each watch was asked to go on."""
    return [
        query["resourceVersion"] for method, _, query, _ in server.requests if method == "WATCH"
    ]


async def test_pods_are_known_by_their_label(tmp_path: Path) -> None:
    """
    From the first list on, without what makes them long; a Pod without the label is none of ours.
    """
    async with ApiServer.start() as server:
        server.objects.update({"pods/a": pod("a"), "pods/x": {"metadata": {"name": "x"}}})
        async with watching(server, tmp_path) as cache:
            assert float("inf") == cache.age_seconds
            await cache.synced.wait()

            sighting = cache.see("a")
            assert sighting.pod is not None
            assert "pod-a" == sighting.pod.name
            assert Sighting(pod=None, gone=False) == cache.see("b")
            assert Sighting(pod=None, gone=False) == cache.see("")
            assert 0 <= cache.age_seconds < 60

    assert "app=peitho" == server.requests[0][2]["labelSelector"]


async def test_events_are_news(tmp_path: Path) -> None:
    """
    Whoever waits for a Pod hears of it; of one that was deleted it is remembered how it ended.
    """
    async with ApiServer.start() as server:
        server.script(
            *WATCH,
            watch(
                event("ADDED", pod("a", 1)),
                event("MODIFIED", pod("a", 2)),
                event("ADDED", pod("b", 3)),
                event("DELETED", pod("a", 4, phase="Failed")),
                stay=True,
            ),
        )
        async with watching(server, tmp_path) as cache:
            await until_version(cache, "b", 3)
            gone = await typed.seen(cache, "a", lambda seen: seen if seen.gone else None)

    assert typed.pod(pod("a", 4, phase="Failed")) == gone.pod


async def test_a_watch_that_ends_is_taken_up_where_it_was(tmp_path: Path) -> None:
    """
    From the last event, bookmarks included, and without a second list.
    """
    async with ApiServer.start() as server:
        server.script(
            *WATCH, watch(event("ADDED", pod("a", 20)), bookmark(35)), watch(bookmark(40))
        )
        async with watching(server, tmp_path) as cache:
            await server.until_asked(*WATCH, times=3)
            assert "20" == version_of(cache.see("a"))

    assert ["11", "35", "40"] == versions_watched(server)
    assert 1 == server.count("GET", "pods")


@pytest.mark.parametrize(
    "gone",
    [
        watch(event("ERROR", {"code": 410, "reason": "Expired", "message": "too old"})),
        always(lambda: refusal(410, "Gone", "too old")),
    ],
    ids=["as an event", "as a status"],
)
async def test_a_watch_that_is_too_old_begins_with_a_list(tmp_path: Path, gone: Script) -> None:
    """
    What vanished meanwhile is known to be gone, and what came is known.
    """
    with structlog.testing.capture_logs() as logs:
        await relist(tmp_path, gone)

    assert ["watch too old, listing again"] == [each["event"] for each in logs]


async def relist(tmp_path: Path, gone: Script) -> None:
    """A watch that is told 410 while one Pod vanishes and another comes."""
    word = asyncio.Event()
    async with ApiServer.start() as server:
        server.objects["pods/a"] = pod("a")
        server.script(*WATCH, after(word, gone))
        async with watching(server, tmp_path) as cache:
            await cache.synced.wait()
            assert "1" == version_of(cache.see("a"))
            del server.objects["pods/a"]
            server.objects["pods/b"] = pod("b", 2)
            word.set()
            await until_version(cache, "b", 2)

            assert cache.see("a").gone


async def test_a_watch_that_dies_is_begun_again(tmp_path: Path) -> None:
    """
    Where it was, and not with a list; in the middle of an event, too, of which nothing is taken.
    """
    async with ApiServer.start() as server:
        half = b'{"type": "ADDED", "object": {"metadata": {"na'
        cut = watch(event("ADDED", pod("a", 5)), half, dies=True)
        refused = always(lambda: refusal(503, "", "etcdserver: leader changed"))
        server.script(*WATCH, cut, refused, watch(event("MODIFIED", pod("a", 6)), stay=True))
        async with watching(server, tmp_path) as cache:
            await until_version(cache, "a", 6)

    assert 1 == server.count("GET", "pods")
    assert ["5", "5"] == versions_watched(server)[1:]


async def test_events_are_cut_at_line_ends_alone(tmp_path: Path) -> None:
    r"""
    JSON may hold U+2028, and a packet may end anywhere.
    """
    message = "a\u2028b\u0085c\x1cd"
    wire = (
        f'{{"type": "ADDED", "object": {{"metadata": {{"labels": {{"{KEY}": "a"}}, '
        f'"resourceVersion": "9"}}, "status": {{"message": "{message}"}}}}}}\n'
    ).replace("\x1c", "\\u001c")
    data = wire.encode()
    async with ApiServer.start() as server:
        server.script(*WATCH, watch(data[:40], data[40:150], data[150:], b"\n\n", stay=True))
        async with watching(server, tmp_path) as cache:
            await until_version(cache, "a", 9)
            sighting = cache.see("a")

    assert sighting.pod is not None
    assert message == sighting.pod.reason


async def test_a_server_that_is_not_there_is_waited_for(tmp_path: Path) -> None:
    """
    An error of the first list is not the end.
    """
    async with ApiServer.start() as server:
        server.script("GET", "pods", always(lambda: refusal(503, "ServiceUnavailable", "starting")))
        async with watching(server, tmp_path) as cache:
            await server.until_asked("GET", "pods")
            assert not cache.synced.is_set()
            await cache.synced.wait()

    assert 2 == server.count("GET", "pods")


async def test_a_pod_that_comes_back_is_not_gone(tmp_path: Path) -> None:
    """
    A label that is seen again is there again.
    """
    async with ApiServer.start() as server:
        first, second = event("ADDED", pod("a", 1)), event("ADDED", pod("a", 3))
        server.script(*WATCH, watch(first, event("DELETED", pod("a", 2)), second, stay=True))
        async with watching(server, tmp_path) as cache:
            await until_version(cache, "a", 3)

            assert not cache.see("a").gone


async def test_a_pod_in_the_place_of_one_that_is_gone_is_nobodys(tmp_path: Path) -> None:
    """
    Its end has been told, and who waits for it is not to wait for another's.
    """
    async with ApiServer.start() as server:
        first, second = pod("a", 1), pod("a", 3)
        first["metadata"]["uid"], second["metadata"]["uid"] = "one", "two"
        events = [event("ADDED", first), event("DELETED", first), event("ADDED", second)]
        server.script(*WATCH, watch(*events, event("ADDED", pod("b", 4)), stay=True))
        async with watching(server, tmp_path) as cache:
            await until_version(cache, "b", 4)

            seen = cache.see("a")
            assert seen.gone
            assert seen.pod
            assert "one" == seen.pod.uid


async def test_who_stops_waiting_does_not_take_others_along(tmp_path: Path) -> None:
    """
    Another who waits for the same Pod still hears of it.
    """
    word = asyncio.Event()
    async with ApiServer.start() as server:
        server.script(*WATCH, after(word, watch(event("ADDED", pod("a", 7)), stay=True)))
        async with watching(server, tmp_path) as cache, asyncio.TaskGroup() as group:
            patient = group.create_task(typed.seen(cache, "a", version_of))
            impatient = group.create_task(typed.seen(cache, "a", version_of))
            await server.until_asked(*WATCH)
            impatient.cancel()
            word.set()

            assert "7" == await patient

    assert impatient.cancelled()


async def test_a_pod_that_ended_and_stays_is_not_lost(tmp_path: Path) -> None:
    """
    A finalizer keeps it, and its node has told of its end.
    """
    ended = {"name": "main", "state": {"terminated": {"exitCode": 0}}}
    deleted = pod("a", 2, containerStatuses=[ended])
    deleted["metadata"] |= {"deletionTimestamp": "2026-01-02T03:04:05Z"}
    async with ApiServer.start() as server:
        server.objects["pods/a"] = deleted
        async with watching(server, tmp_path) as cache:
            await until_version(cache, "a", 2)
            await asyncio.sleep(20)

            assert not cache.see("a").lost


async def test_a_pod_that_is_not_ended_in_time_is_lost(tmp_path: Path) -> None:
    """
    Its time is its grace and a while more, counted from when its deletion was seen.
    """
    body = pod("a")
    deleted = pod("a", 2)
    deleted["metadata"] |= {"deletionTimestamp": "2026-01-02T03:04:05Z"}
    deleted["metadata"] |= {"deletionGracePeriodSeconds": 5}
    async with ApiServer.start() as server:
        server.objects["pods/a"] = body
        server.script(*WATCH, watch(event("MODIFIED", deleted), stay=True))
        async with watching(server, tmp_path) as cache:
            await until_version(cache, "a", 2)
            assert not cache.see("a").lost
            began = asyncio.get_running_loop().time()

            await typed.seen(cache, "a", lambda seen: seen.lost or None)

            assert 14 < asyncio.get_running_loop().time() - began < 16


async def test_a_copy_of_a_pod_is_nobodys(tmp_path: Path) -> None:
    """
    Neither while it is there nor when it goes; one with another Job for owner is one, too.
    """
    own = {"app": "peitho", KEY: "a" * 32, "peitho/kind": "chaincode"}
    owner = {"kind": "Job", "name": f"cc-{'a' * 8}", "uid": "j"}
    mine, copy, other = pod("a"), pod("copy", 2), pod("other", 3)
    mine["metadata"] |= {"labels": own, "uid": "1", "ownerReferences": [owner]}
    copy["metadata"] |= {"labels": own, "uid": "2"}
    other["metadata"] |= {"labels": own, "uid": "3", "ownerReferences": [owner | {"uid": "k"}]}
    news = [event(kind, each) for each in (copy, other) for kind in ("ADDED", "DELETED")]
    last = event("ADDED", pod("last"))
    async with ApiServer.start() as server:
        server.objects["pods/a"] = mine
        server.script(*WATCH, watch(*news, last, stay=True))
        async with watching(server, tmp_path) as cache:
            await until_version(cache, "last", 1)

            assert "1" == version_of(cache.see("a" * 32))
