"""News that does not come: the API server gone for a minute, its connections dead in silence."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.journeys.wire import Wire, wired
from tests.lab.beside import beside
from tests.lab.cluster import Cluster
from tests.lab.peitho import Peitho
from tests.support.attached import attach
from tests.support.docker_calls import Calls
from tests.support.observe import alive, open_waits, pods, until

IMAGE = "image-watch"
CHAINCODE = "trap 'exit 5' USR1; while true; do sleep 0.1; done"
# What peitho.clients.kubernetes allows a watch to be silent, and a few seconds to ask anew.
SILENCE_SECONDS = 25.0
ASK_SECONDS = 15.0
# After this without news Peitho says that the cluster is away (peitho.core.surroundings).
STALE_SECONDS = 35.0

pytestmark = pytest.mark.timeout(180)


@beside
async def test_a_minute_without_the_api_server(cluster: Cluster, tmp_path: Path) -> None:
    """
    Everything hangs; peers can ping, and what needs the cluster fails; then all is right at once.
    """
    async with _running(cluster, tmp_path) as (peitho, wire, calls), asyncio.TaskGroup() as tasks:
        wait = tasks.create_task(calls.wait("cc"))
        await until(lambda: _waits(peitho))
        wire.stall()
        began = time.monotonic()
        await _end(peitho)

        await until(lambda: _misses(peitho), seconds=STALE_SECONDS + 2)
        assert STALE_SECONDS - SILENCE_SECONDS < time.monotonic() - began
        assert STALE_SECONDS < await _age(peitho)
        assert 200 == (await calls.call("GET", "/_ping")).status
        # Until the watch is given up, lists are told from it.
        assert 503 == (await calls.call("GET", "/containers/json")).status
        await until(lambda: _is_older(peitho, 60), seconds=30)
        assert not wait.done()
        assert await _misses(peitho)

        await wire.connect()
        async with asyncio.timeout(ASK_SECONDS):
            assert 5 == await wait
        await until(lambda: _hears(peitho))
        assert STALE_SECONDS > await _age(peitho)
        assert "exited" == (await calls.inspect("cc"))["State"]["Status"]
        assert 204 == (await calls.launch("cc", IMAGE)).status


@beside
async def test_connections_that_die_in_silence(cluster: Cluster, tmp_path: Path) -> None:
    """
    Only new ones pass: the watch takes its own for dead in time, and Peitho was ready throughout.
    """
    async with _running(cluster, tmp_path) as (peitho, wire, calls), asyncio.TaskGroup() as tasks:
        said = tasks.create_task(attach(peitho, "cc", version="/v1.47"))
        wait = tasks.create_task(calls.wait("cc"))
        await until(lambda: _waits(peitho))
        wire.stall(new=False)
        await _end(peitho)

        ready = [await _hears(peitho)]
        async with asyncio.timeout(SILENCE_SECONDS + 5):
            while not wait.done():
                ready.append(await _hears(peitho))
                await asyncio.wait([wait], timeout=1)

        assert {True} == set(ready)
        assert 5 == await wait
        async with asyncio.timeout(ASK_SECONDS):
            await said
        assert 204 == (await calls.launch("cc", IMAGE)).status


@beside
async def test_news_that_breaks_off_in_its_middle(cluster: Cluster, tmp_path: Path) -> None:
    """
    Half an event is none; it comes whole by the next connection.
    """
    async with (
        _running(cluster, tmp_path, seen=True) as (peitho, wire, calls),
        asyncio.TaskGroup() as tasks,
    ):
        wait = tasks.create_task(calls.wait("cc"))
        await until(lambda: _waits(peitho))
        broken = wire.cut_after(500)
        await _end(peitho)
        await until(broken.is_set)
        await wire.connect()

        async with asyncio.timeout(5):
            assert 5 == await wait
        assert await _hears(peitho)


@asynccontextmanager
async def _running(
    cluster: Cluster, folder: Path, *, seen: bool = False
) -> AsyncIterator[tuple[Peitho, Wire, Calls]]:
    """A Peitho behind a wire, and a chaincode that it runs."""
    async with (
        wired(cluster, folder, seen=seen) as (peitho, wire),
        Calls.to(peitho) as calls,
    ):
        await calls.make_image(IMAGE, CHAINCODE)
        assert 204 == (await calls.launch("cc", IMAGE)).status
        yield peitho, wire, calls


async def _end(peitho: Peitho) -> None:
    """Have the chaincode end by itself, past Peitho; return when the cluster knows it."""
    (pod,) = await asyncio.to_thread(alive, peitho, "cc")
    command = ["exec", pod, "-c", "chaincode", "--", "/bin/sh", "-c", "kill -USR1 1"]
    await asyncio.to_thread(peitho.kubectl, *command)
    await until(lambda: not alive(peitho, "cc"))
    assert 1 == len(pods(peitho, "cc"))


async def _waits(peitho: Peitho) -> bool:
    return 1 == await open_waits(peitho)


async def _hears(peitho: Peitho) -> bool:
    """Whether Peitho tells that it hears the cluster; it is ready all the time."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{peitho.operations}/readyz?verbose") as response,
    ):
        assert 200 == response.status
        return "[+]cluster ok" in await response.text()


async def _misses(peitho: Peitho) -> bool:
    return not await _hears(peitho)


async def _age(peitho: Peitho) -> float:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{peitho.operations}/metrics") as response,
    ):
        found = re.search(r"^peitho_watch_age_seconds (\S+)", await response.text(), re.MULTILINE)
    assert found
    return float(found[1])


async def _is_older(peitho: Peitho, seconds: float) -> bool:
    return await _age(peitho) > seconds
