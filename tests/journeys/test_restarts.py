"""Peitho killed at each step of an install and of a launch, and stopped as a Pod is stopped."""

import asyncio
import json
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import aiohttp
import pytest
import pytest_asyncio

from tests.journeys.attached import attach
from tests.journeys.calls import Calls, archive, context
from tests.journeys.observe import alive, builds, open_waits, pods, until
from tests.journeys.wire import Wire, wired
from tests.lab.cluster import Cluster
from tests.lab.peitho import Peitho, answers

T = TypeVar("T")

RUNTIME = "image-restarts"
BUILDER = "hyperledger/fabric-ccenv:2.5"
# Exits with 7 when it is told to; more than sockets hold comes of the build.
CHAINCODE = "trap 'exit 7' USR1; while true; do sleep 0.1; done"
RESULT_BYTES = 32_000_000
COMPILE = f"""
while [ -e /chaincode/input/slow ]; do sleep 0.1; done
head -c {RESULT_BYTES} /dev/zero > /chaincode/output/chaincode && echo compiled
"""
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

pytestmark = pytest.mark.usefixtures("peitho_log", "_bystander")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def wired_peitho(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Peitho, Wire]]:
    folder = tmp_path_factory.mktemp("restarts")
    settings = {"chaincode": {"settleSeconds": 0}}
    async with wired(cluster, folder, seen=True, **settings) as (peitho, wire):
        yield peitho, wire


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
async def _bystander(calls: Calls, peitho: Peitho, _image: None) -> AsyncIterator[None]:
    """A chaincode that runs all the while, and is the same process after each test."""
    await _up(peitho)
    await calls.create("bystander", RUNTIME)
    await calls.start("bystander")
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
    ]


class Killed(Exception):  # noqa: N818  no error: it is what the test is about
    """Peitho was killed; the peer has no answer."""


@dataclass
class Try:
    """A peer's calls one after the other; while `at` is under way, Peitho is killed."""

    calls: Calls
    wire: Wire
    at: str = ""
    request: str = ""
    killed: asyncio.Event = field(default_factory=asyncio.Event)
    half: asyncio.Event = field(default_factory=asyncio.Event)

    async def step(
        self,
        name: str,
        call: Coroutine[Any, Any, T],
        under_way: Callable[[], bool | Awaitable[bool]] | None = None,
    ) -> T:
        """Make a call; if it is the one, kill Peitho and raise Killed."""
        if name != self.at:
            return await call
        lost = self.wire.keep_answer(self.request) if self.request else self.half
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(_unanswered(call))
            await until(under_way or lost.is_set)
            assert not task.done()
            await self.calls.peitho.end(kill=True)
            self.killed.set()
        raise Killed

    async def halves(self, name: str, content: bytes) -> AsyncIterator[bytes]:
        """A body; of the call that is not to be answered, half of it."""
        yield content[: len(content) // 2]
        if name == self.at:
            self.half.set()
            await self.killed.wait()
        yield content[len(content) // 2 :]


async def _unanswered(call: Awaitable[object]) -> None:
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await call


async def _install(this: Try, image: str) -> None:
    """What a peer does to install a chaincode; a build that is not to end is a slow one."""
    calls, peitho = this.calls, this.calls.peitho
    asked = json.dumps({"Image": BUILDER, "Cmd": ["/bin/sh", "-c", COMPILE]}).encode()
    create = calls.call(
        "POST", "/containers/create", data=this.halves("create", asked), expect100=True
    )
    build = (await this.step("create", create)).body["Id"]
    slow = "slow" if this.at in ("wait", "remove") else "fast"
    files = archive({slow: (0o644, image.encode())})
    put = calls.put(build, this.halves("put", files))
    assert 200 == (await this.step("put", put, lambda: _spooled(peitho, "upload-*"))).status
    async with asyncio.TaskGroup() as tasks:
        said = tasks.create_task(_attach(peitho, build))
        assert 204 == (await this.step("start", calls.start(build))).status
        if this.at == "remove":  # a peer that gives up
            await this.step("remove", calls.remove(build))
        assert 0 == await this.step("wait", calls.wait(build), lambda: _waits(peitho, 1))
    assert b"compiled\n" in said.result()
    package = await this.step("get", _download(this, build))
    assert RESULT_BYTES < len(package)
    assert 204 == (await calls.remove(build)).status
    body = this.halves("build", context(package))
    built = calls.call("POST", "/build", params={"t": image}, data=body)
    assert 200 == (await this.step("build", built, lambda: _spooled(peitho, "context"))).status


async def _launch(this: Try, name: str) -> None:
    """What a peer does to launch a chaincode whose predecessor runs, until it waits for it."""
    calls = this.calls
    if this.at != "kill":  # which comes to something only where the stop did not
        assert (await this.step("stop", calls.stop(name))).status in (204, 304, 404)
    assert (await this.step("kill", calls.kill(name))).status in (204, 404, 409)
    assert (await this.step("remove", calls.remove(name))).status in (204, 404)
    assert 201 == (await this.step("create", calls.create(name, RUNTIME))).status
    files = archive({"/etc/hyperledger/fabric/client.key": (0o644, b"key of a test")})
    assert 200 == (await this.step("put", calls.put(name, files, path="/"))).status
    assert 204 == (await this.step("start", calls.start(name))).status
    if this.at:
        await this.step("wait", calls.wait(name), lambda: _waits(calls.peitho, 1))


async def _attach(peitho: Peitho, build: str) -> bytes:
    try:
        return await attach(peitho, build, version="/v1.47")
    except (ConnectionError, asyncio.IncompleteReadError):
        return b""


async def _download(this: Try, build: str) -> bytes:
    """The build's result; if Peitho is to be killed in it, what comes after its death too."""
    url = f"{this.calls.peitho.http}/containers/{build}/archive"
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.get(url, params={"path": "/chaincode/output/."}) as response,
    ):
        assert 200 == response.status
        if this.at == "get":
            this.half.set()
            await this.killed.wait()
        return await response.read()


def _spooled(peitho: Peitho, pattern: str) -> bool:
    return any((peitho.data_dir / "spool").rglob(pattern))


@pytest.mark.parametrize(("at", "request_"), INSTALL)
async def test_killed_in_an_install(
    at: str, request_: str, calls: Calls, peitho: Peitho, wire: Wire
) -> None:
    """
    The peer installs again from its first call, and nothing of the first try is left.
    """
    image = f"image-{at}-{len(request_)}"
    with pytest.RaisesGroup(Killed, allow_unwrapped=True, flatten_subgroups=True):
        await _install(Try(calls, wire, at, request_), image)
    await peitho.begin()

    await _install(Try(calls, wire), image)

    assert 200 == (await calls.call("GET", f"/images/{image}/json")).status
    await until(lambda: not builds(peitho))
    await until(lambda: not _spooled(peitho, "*"))


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
        await _launch(Try(calls, wire, at, request_), name)
    await peitho.begin()

    await _launch(Try(calls, wire), name)

    assert 1 == len(alive(peitho, name))
    await until(lambda: {"secrets": 1, "jobs": 1, "pods": 1} == _objects(peitho, name))
    assert [0] == [restarts for _, restarts, _ in _processes(peitho, name)]
    assert not _spooled(peitho, "*")


def _objects(peitho: Peitho, name: str) -> dict[str, int]:
    """How many objects of each kind a container has."""
    return {
        kind: sum(
            each["metadata"].get("annotations", {}).get("peitho/name") == name
            for each in peitho.objects(kind)
        )
        for kind in ("secrets", "jobs", "pods")
    }


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
            tasks.create_task(_unanswered(calls.wait(each)))
        await until(lambda: _waits(peitho, 2))
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
        await until(lambda: _spooled(peitho, "upload-*"))
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


async def _waits(peitho: Peitho, count: int) -> bool:
    return count == await open_waits(peitho)


def _is_told_to_end(peitho: Peitho, name: str) -> bool:
    return any("deletionTimestamp" in pod["metadata"] for pod in pods(peitho, name))


def _refuses(peitho: Peitho) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", peitho.port)) != 0
