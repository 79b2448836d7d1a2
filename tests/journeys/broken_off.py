"""A peer's install and launch, call by call, with Peitho killed in the middle of one of them."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import aiohttp
import pytest

from tests.journeys.wire import Wire
from tests.lab.peitho import Peitho
from tests.support.attached import attach
from tests.support.docker_calls import Calls, archive, context
from tests.support.observe import open_waits, until

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
            task = tasks.create_task(unanswered(call))
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


async def unanswered(call: Awaitable[object]) -> None:
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await call


async def install(this: Try, image: str) -> None:
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
    assert 200 == (await this.step("put", put, lambda: spooled(peitho, "upload-*"))).status
    async with asyncio.TaskGroup() as tasks:
        said = tasks.create_task(_attach(peitho, build))
        started = await this.step("start", calls.start(build))
        assert 204 == started.status, started.message
        if this.at == "remove":  # a peer that gives up
            await this.step("remove", calls.remove(build))
        assert 0 == await this.step("wait", calls.wait(build), lambda: waits(peitho, 1))
    assert b"compiled\n" in said.result()
    package = await this.step("get", _download(this, build))
    assert RESULT_BYTES < len(package)
    assert 204 == (await calls.remove(build)).status
    body = this.halves("build", context(package))
    built = calls.call("POST", "/build", params={"t": image}, data=body)
    assert 200 == (await this.step("build", built, lambda: spooled(peitho, "context"))).status


async def launch(this: Try, name: str) -> None:
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
        await this.step("wait", calls.wait(name), lambda: waits(calls.peitho, 1))


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


def spooled(peitho: Peitho, pattern: str) -> bool:
    return any((peitho.data_dir / "spool").rglob(pattern))


async def waits(peitho: Peitho, count: int) -> bool:
    return count == await open_waits(peitho)
