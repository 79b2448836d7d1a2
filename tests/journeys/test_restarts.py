"""Peitho killed at each step of an install and of a launch, and stopped as a Pod is stopped."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import aiohttp
import pytest
import pytest_asyncio

from peitho.formats import records
from tests.journeys.broken_off import (
    CHAINCODE,
    COMPILE,
    RESULT_BYTES,
    RUNTIME,
    Killed,
    Try,
    install,
    launch,
    spooled,
    unanswered,
    waits,
)
from tests.journeys.wire import Wire, wired
from tests.lab.beside import beside
from tests.lab.cluster import Cluster, answers
from tests.lab.peitho import Peitho
from tests.support.docker_calls import Calls, archive
from tests.support.observe import alive, builds, pods, until

# Step by step, with the request to the cluster whose answer Peitho does not live to see.
INSTALL = (
    ("create", ""),
    ("put", ""),
    ("start", "POST /.*/secrets"),
    ("start", "POST /.*/pods"),
    ("wait", ""),
    ("get", ""),
    ("remove", "DELETE /.*/pods/"),
    ("build", ""),
)
LAUNCH = (
    ("stop", "DELETE /.*/jobs/"),
    ("stop", "DELETE /.*/pods/"),
    ("kill", "DELETE /.*/pods/"),
    ("remove", "DELETE /.*/secrets/"),
    ("remove", "DELETE /.*/jobs/"),
    ("create", "POST /.*/secrets"),
    ("put", "PATCH /.*/secrets/"),
    ("start", "POST /.*/jobs"),
    ("wait", ""),
)

SETTINGS = {"chaincode": {"settleSeconds": 0}}

pytestmark = pytest.mark.usefixtures("peitho_log", "_bystander", "begun")


@dataclass(frozen=True, slots=True)
class Installs:
    """What is needed for installs beside the launches: a Peitho of their own, one at a time."""

    calls: Calls
    wire: Wire
    turn: asyncio.Lock


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def wired_peitho(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Peitho, Wire]]:
    folder = tmp_path_factory.mktemp("restarts")
    async with wired(cluster, folder, seen=True, **SETTINGS) as (peitho, wire):
        yield peitho, wire


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def installs(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Installs]:
    folder = tmp_path_factory.mktemp("installs")
    async with (
        wired(cluster, folder, seen=True, **SETTINGS) as (peitho, wire),
        Calls.to(peitho) as calls,
    ):
        await calls.make_image(RUNTIME, CHAINCODE)
        yield Installs(calls, wire, asyncio.Lock())


@pytest.fixture(scope="module")
def peitho(wired_peitho: tuple[Peitho, Wire]) -> Peitho:
    return wired_peitho[0]


@pytest.fixture(scope="module")
def wire(wired_peitho: tuple[Peitho, Wire]) -> Wire:
    return wired_peitho[1]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def _image(calls: Calls) -> None:
    await calls.make_image(RUNTIME, CHAINCODE)


@pytest_asyncio.fixture(loop_scope="session")
async def _bystander(calls: Calls, _image: None) -> AsyncIterator[None]:
    async with _with_bystander(calls):
        yield


@asynccontextmanager
async def _with_bystander(calls: Calls) -> AsyncIterator[None]:
    """A chaincode that runs all the while, and is the same process after each test."""
    peitho = calls.peitho
    await _up(peitho)
    await calls.create("bystander", RUNTIME)
    await calls.start("bystander")
    # The kubelet's Event tells of a start sooner than its status, which is compared here.
    await until(lambda: any(runs for _, _, runs in _processes(peitho, "bystander")))
    before = _processes(peitho, "bystander")
    assert 1 == len(before)
    yield
    await _up(peitho)
    assert before == _processes(peitho, "bystander")
    assert 304 == (await calls.start("bystander")).status


async def _up(peitho: Peitho) -> None:
    """Begin it again if a test failed while it was down, or on its way down."""
    if not await asyncio.to_thread(answers, f"{peitho.operations}/readyz"):
        await peitho.end()
        await peitho.begin()


def _processes(peitho: Peitho, name: str) -> list[tuple[str, int, bool]]:
    """The Pods of a container: their uid, how often they were restarted, whether they run."""
    return [
        (pod["metadata"]["uid"], each["restartCount"], "running" in each["state"])
        for pod in pods(peitho, name)
        for each in pod["status"]["containerStatuses"]
        if each["name"] == records.CHAINCODE
    ]


@pytest.mark.parametrize(("at", "request_"), LAUNCH)
async def test_killed_in_a_launch(
    at: str, request_: str, calls: Calls, peitho: Peitho, wire: Wire
) -> None:
    """
    The peer launches again from its first call; one Secret, one Job and one Pod are left.
    """
    name = "Lab-launch"
    if 304 != (await calls.start(name)).status:
        await calls.launch(name, RUNTIME)
    with pytest.raises(Killed):
        await launch(Try(calls, wire, at, request_), name)
    await peitho.begin()

    await launch(Try(calls, wire), name)

    assert 1 == len(alive(peitho, name))
    await until(lambda: {"secrets": 1, "jobs": 1, "pods": 1} == _objects(peitho, name))
    assert [0] == [restarts for _, restarts, _ in _processes(peitho, name)]
    assert not spooled(peitho, "*")


def _objects(peitho: Peitho, name: str) -> dict[str, int]:
    """How many objects of each kind a container has."""
    return {
        kind: sum(
            each["metadata"].get("annotations", {}).get("peitho/name") == name
            for each in peitho.objects(kind)
        )
        for kind in ("secrets", "jobs", "pods")
    }


@pytest.mark.timeout(180)  # all of them, if it is the first
@beside
@pytest.mark.parametrize(("at", "request_"), INSTALL)
async def test_killed_in_an_install(at: str, request_: str, installs: Installs) -> None:
    """
    The peer installs again from its first call, and nothing of the first try is left.
    """
    calls, peitho = installs.calls, installs.calls.peitho
    async with installs.turn, _with_bystander(calls):
        image = f"image-{at}-{len(request_)}"
        with pytest.RaisesGroup(Killed, allow_unwrapped=True, flatten_subgroups=True):
            await install(Try(calls, installs.wire, at, request_), image)
        await peitho.begin()

        await install(Try(calls, installs.wire), image)

        assert 200 == (await calls.call("GET", f"/images/{image}/json")).status
        await until(lambda: not builds(peitho))
        await until(lambda: not spooled(peitho, "*"))


async def test_how_chaincode_ended_meanwhile_is_known_afterwards(
    calls: Calls, peitho: Peitho
) -> None:
    """
    While Peitho is away one exits, one is deleted and gone, one has just been deleted.
    """
    names = ("exits", "gone", "going")
    async with asyncio.TaskGroup() as tasks:
        for name in names:
            tasks.create_task(calls.launch(name, RUNTIME))
    pod = {name: alive(peitho, name)[0] for name in names}
    await peitho.end(kill=True)
    peitho.kubectl("exec", pod["exits"], "-c", "chaincode", "--", "/bin/sh", "-c", "kill -USR1 1")
    peitho.kubectl("delete", "pod", pod["gone"])
    await until(lambda: not alive(peitho, "exits") and not pods(peitho, "gone"))
    peitho.kubectl("delete", "pod", pod["going"], "--wait=false")
    await peitho.begin()

    for name, code in (("exits", 7), ("gone", 137)):
        assert 409 == (await calls.start(name)).status
        await until(partial(_is_over, calls, name))
        state = (await calls.inspect(name))["State"]
        assert code == state["ExitCode"]
    async with asyncio.timeout(10):
        assert 7 == await calls.wait("exits")
        assert 137 == await calls.wait("gone")
        assert await calls.wait("going") in (137, 143)

    for name in ("exits", "gone"):
        assert 204 == (await calls.launch(name, RUNTIME)).status
    async with asyncio.TaskGroup() as tasks:
        for name in names:
            tasks.create_task(calls.remove(name))


async def _is_over(calls: Calls, name: str) -> bool:
    return bool("exited" == (await calls.inspect(name))["State"]["Status"])


async def test_a_stop_lets_calls_finish_and_hangs_up_on_waits(calls: Calls, peitho: Peitho) -> None:
    """
    As a daemon that stops and leaves its containers running; a build does not hold it up.
    """
    await calls.launch("short", RUNTIME)
    build = await calls.create_build("sleep 100")
    await calls.start(build)
    async with asyncio.TaskGroup() as tasks:
        for each in ("bystander", build):
            tasks.create_task(unanswered(calls.wait(each)))
        await until(lambda: waits(peitho, 2))
        call = tasks.create_task(calls.stop("short"))
        await until(lambda: _is_told_to_end(peitho, "short"))
        async with _stopping(peitho):
            assert 204 == (await call).status

    assert await calls.wait("short") in (137, 143)
    await calls.remove("short")
    await until(lambda: not builds(peitho))


async def test_a_stop_lets_an_upload_finish(calls: Calls, peitho: Peitho, wire: Wire) -> None:
    """
    What the peer has half sent is taken whole, and answered.
    """
    this = Try(calls, wire, "put")
    build = await calls.create_build("true")
    half = this.halves("put", archive({"a": (0o644, b"content")}))
    async with asyncio.TaskGroup() as tasks:
        put = tasks.create_task(calls.put(build, half))
        await until(lambda: spooled(peitho, "upload-*"))
        async with _stopping(peitho):
            assert not put.done()
            this.killed.set()
            assert 200 == (await put).status


async def test_a_stop_lets_a_download_finish(calls: Calls, peitho: Peitho) -> None:
    """
    A build that has ended is not lost for the peer that fetches its result.
    """
    build = await calls.create_build(COMPILE)
    await calls.start(build)
    assert 0 == await calls.wait(build)
    url = f"{peitho.http}/containers/{build}/archive"
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, params={"path": "/chaincode/output/."}) as response,
    ):
        got = len(await response.content.readany())
        async with _stopping(peitho):
            got += len(await response.read())

    assert RESULT_BYTES < got


@asynccontextmanager
async def _stopping(peitho: Peitho) -> AsyncIterator[None]:
    """A stop that has begun: nobody new is let in at once, and it takes less than five seconds."""
    began = time.monotonic()
    os.kill(peitho.pid, signal.SIGTERM)
    try:
        await until(lambda: _refuses(peitho))
        refused = time.monotonic() - began
        yield
    finally:
        await peitho.end()
        ended = time.monotonic() - began
        await peitho.begin()
    assert refused < 1
    assert ended < 5


def _is_told_to_end(peitho: Peitho, name: str) -> bool:
    return any("deletionTimestamp" in pod["metadata"] for pod in pods(peitho, name))


def _refuses(peitho: Peitho) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", peitho.port)) != 0
