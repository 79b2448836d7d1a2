"""A container's log, as a double of the API server gives it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from peitho.clients.kubernetes.api import KubernetesError
from peitho.clients.kubernetes.pod_watch import PodWatch
from peitho.core.chaincode import logs
from peitho.core.chaincode.logs import PodLog
from peitho.core.container import OutputOptions
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
LOG = "pods/p/log"
AT = "2026-01-02T03:04:05Z"
WAITING = {"waiting": {"reason": "ContainerCreating"}}
RUNNING = {"running": {"startedAt": AT}}
ENDED = {"terminated": {"exitCode": 3, "startedAt": AT, "finishedAt": AT}}


def told(version: int, state: Manifest, kind: str = "MODIFIED") -> Manifest:
    """News of container `main` of Pod `a`."""
    metadata = {"name": "p", "labels": {KEY: "a"}, "resourceVersion": str(version)}
    status = {"containerStatuses": [{"name": "main", "state": state}]}
    return {"type": kind, "object": {"metadata": metadata, "status": status}}


@asynccontextmanager
async def log_of(tmp_path: Path, server: ApiServer, *news: Script) -> AsyncIterator[PodLog]:
    """The log of a container of which there is news."""
    server.script("WATCH", "pods", *news, watch(stay=True))
    async with server.client(tmp_path) as kubernetes, asyncio.TaskGroup() as group:
        cache = PodWatch(kubernetes, labels={})
        task = group.create_task(cache.run())
        await typed.seen(cache, "a", lambda seen: bool(seen.pod) or None)
        yield PodLog(kubernetes, cache, "a", "main")
        task.cancel()


async def read(log: PodLog, *, follow: bool = True) -> bytes:
    """All of it."""
    async with asyncio.timeout(10):
        return b"".join([chunk async for chunk in log.read(OutputOptions(follow=follow))])


async def test_a_log_ends_with_its_stream(tmp_path: Path) -> None:
    """
    And not before: the container may have ended long ago.
    """
    async with ApiServer.start() as server:
        server.script("GET", LOG, watch(b"one\n", b"two\n"))
        async with log_of(tmp_path, server, watch(told(1, ENDED))) as log:
            assert b"one\ntwo\n" == await read(log)


async def test_a_stream_that_died_in_silence_ends_with_the_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What came until then is there; while the container runs, silence is no end.
    """
    monkeypatch.setattr(logs, "_SILENCE_SECONDS", 0.05)
    end = asyncio.Event()
    news = (watch(told(1, RUNNING)), after(end, watch(told(2, ENDED))))
    async with ApiServer.start() as server:
        server.script("GET", LOG, watch(b"said\n", stay=True))
        async with log_of(tmp_path, server, *news) as log, asyncio.TaskGroup() as group:
            reading = group.create_task(read(log))
            await server.until_asked("GET", LOG)
            await asyncio.sleep(0.1)
            assert not reading.done()
            end.set()

    assert b"said\n" == reading.result()


async def test_a_node_that_has_just_begun_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It refuses, or has nothing to follow yet.
    """
    monkeypatch.setattr(logs, "_PAUSE_SECONDS", 0.01)
    early = always(lambda: refusal(400, "BadRequest", "container is waiting to start"))
    async with ApiServer.start() as server:
        server.script("GET", LOG, early, watch(), watch(b"said\n"))
        async with log_of(tmp_path, server, watch(told(1, RUNNING))) as log:
            assert b"said\n" == await read(log)


async def test_a_log_that_is_refused_for_good_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    After ten tries.
    """
    monkeypatch.setattr(logs, "_PAUSE_SECONDS", 0)
    async with ApiServer.start() as server:
        server.script("GET", LOG, *[always(lambda: refusal(403, "Forbidden", "no"))] * 10)
        async with log_of(tmp_path, server, watch(told(1, RUNNING))) as log:
            with pytest.raises(KubernetesError, match="no"):
                await read(log)

        assert 10 == server.count("GET", LOG)


@pytest.mark.parametrize(("state", "follow"), [(RUNNING, False), (ENDED, False), (ENDED, True)])
async def test_what_is_there_or_not_is_asked_for_once(
    tmp_path: Path, state: Manifest, *, follow: bool
) -> None:
    """
    The cluster's words are told, not an empty log.
    """
    async with ApiServer.start() as server:
        server.script("GET", LOG, always(lambda: refusal(500, "", "dial tcp: timeout")))
        async with log_of(tmp_path, server, watch(told(1, state))) as log:
            with pytest.raises(KubernetesError, match="dial tcp: timeout"):
                await read(log, follow=follow)


async def test_a_pod_that_goes_meanwhile_has_no_log(tmp_path: Path) -> None:
    """
    Its container was removed, which is no fault.
    """
    async with ApiServer.start() as server:
        server.script("GET", LOG, always(lambda: refusal(404, "NotFound", "no such pod")))
        async with log_of(tmp_path, server, watch(told(1, RUNNING))) as log:
            assert b"" == await read(log)


@pytest.mark.parametrize(
    "news",
    [[told(1, WAITING)], [told(1, ENDED), told(2, ENDED, "DELETED")]],
    ids=["not there yet", "gone"],
)
async def test_without_a_process_there_is_no_log(tmp_path: Path, news: list[Manifest]) -> None:
    """
    Nothing is asked for.
    """
    async with ApiServer.start() as server:
        async with log_of(tmp_path, server, watch(*news)) as log:
            await typed.seen(log.watch, "a", lambda seen: seen.gone or len(news) == 1 or None)
            assert b"" == await read(log, follow=False)

        assert 0 == server.count("GET", LOG)


async def test_it_is_known_when_there_is_a_log(tmp_path: Path) -> None:
    """
    Once the process runs, or when it should have been.
    """
    run = asyncio.Event()
    news = (watch(told(1, WAITING)), after(run, watch(told(2, RUNNING))))
    async with (
        ApiServer.start() as server,
        log_of(tmp_path, server, *news) as log,
        asyncio.TaskGroup() as group,
    ):
        await log.until_there(within_seconds=0.01)
        there = group.create_task(log.until_there(within_seconds=30))
        await asyncio.sleep(0)
        assert not there.done()
        run.set()


async def test_a_part_of_a_log_is_cut_to_the_nanosecond(tmp_path: Path) -> None:
    """
    The kubelet knows whole seconds alone; its times are shown if they are asked for.
    """
    said = b"2026-01-02T03:04:05.1Z one\n2026-01-02T03:04:05.3Z two\n"
    since = OutputOptions(since_nanoseconds=1767323045_200000000, tail_lines=7)
    async with ApiServer.start() as server:
        server.script("GET", LOG, watch(said[:30], said[30:]), watch(said))
        async with log_of(tmp_path, server, watch(told(1, ENDED))) as log:
            assert [b"two\n"] == [chunk async for chunk in log.read(since)]
            shown = [chunk async for chunk in log.read(OutputOptions(timestamps=True))]

        asked = [
            query for method, kind, query, _ in server.requests if (method, kind) == ("GET", LOG)
        ]
    assert b"2026-01-02T03:04:05.100000000Z one\n2026-01-02T03:04:05.300000000Z two\n" == b"".join(
        shown
    )
    assert ("2026-01-02T03:04:05+00:00", "7") == (asked[0]["sinceTime"], asked[0]["tailLines"])
    assert {"container": "main", "follow": "false", "timestamps": "true"} == asked[1]


LINES = [
    b"2026-01-02T03:04:05.1Z one\n",
    b"2026-01-02T03:04:05.2Z two\n",
    b"2026-01-02T03:04:06.3Z three\n",
]


@pytest.mark.parametrize("refused", [False, True])
async def test_a_log_that_is_cut_goes_on(tmp_path: Path, *, refused: bool) -> None:
    """
    Without loss and without repetition, from the second of the last line on.
    """
    end = asyncio.Event()
    news = (watch(told(1, RUNNING)), after(end, watch(told(2, ENDED))))
    cut = watch(LINES[0], LINES[1][:-2], dies=True)
    away = [always(lambda: refusal(503, "", "dial tcp: i/o timeout"))] * 4 * refused
    async with ApiServer.start() as server:
        server.script("GET", LOG, cut, *away, watch(*LINES[:2]), watch(*LINES))
        server.rule("GET", LOG, watch(LINES[2]))
        async with log_of(tmp_path, server, *news) as log:
            said = b""
            async for chunk in log.read(OutputOptions(follow=True)):
                said += chunk
                if b"three" in said:
                    end.set()

        since = [query.get("sinceTime") for _, kind, query, _ in server.requests if kind == LOG]
    assert b"one\ntwo\nthree\n" == said
    assert [None, "2026-01-02T03:04:05+00:00"] == since[:2]
    assert "2026-01-02T03:04:06+00:00" == since[-1]
