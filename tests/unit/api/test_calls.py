import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from peitho.api import middleware
from peitho.api.calls import OpenCalls
from tests.support.in_process import listening
from tests.support.wire import Wire, wire


class Stage:
    """A short and a long call, both of which last until they are told to end."""

    def __init__(self) -> None:
        self.calls = OpenCalls([self.long])
        self.arrived = asyncio.Event()
        self.end = asyncio.Event()

    async def short(self, _: web.Request) -> web.StreamResponse:
        """A call that a stop waits for."""
        self.arrived.set()
        await self.end.wait()
        return web.Response()

    async def long(self, request: web.Request) -> web.StreamResponse:
        """A call that it does not wait for."""
        return await self.short(request)

    @asynccontextmanager
    async def asked(self, path: str) -> AsyncIterator[Wire]:
        """A peer whose call is under way."""
        app = web.Application(middlewares=[middleware.answer, self.calls.count])
        app.add_routes([web.get("/short", self.short), web.get("/long", self.long)])
        async with listening(app) as url, wire(url) as peer:
            peer.send("GET", path)
            await self.arrived.wait()
            yield peer
            self.end.set()


async def test_a_stop_waits_for_what_is_under_way() -> None:
    """
    And for no longer than that.
    """
    stage = Stage()
    async with stage.asked("/short"), asyncio.TaskGroup() as group:
        finishing = group.create_task(stage.calls.finish(within_seconds=30))
        await asyncio.sleep(0)
        assert not finishing.done()
        stage.end.set()


async def test_a_stop_does_not_wait_for_what_lasts() -> None:
    """
    A peer's wait ends with the chaincode, which may be in a year.
    """
    stage = Stage()
    async with stage.asked("/long"), asyncio.timeout(5):
        await stage.calls.finish(within_seconds=30)


async def test_a_call_that_does_not_end_is_given_up() -> None:
    """
    When its time is over.
    """
    stage = Stage()
    async with stage.asked("/short"), asyncio.timeout(5):
        await stage.calls.finish(within_seconds=0.01)


@pytest.mark.parametrize("path", ["/short", "/long"])
async def test_nothing_new_is_begun_once_a_stop_has(path: str) -> None:
    """
    On connections that are still open.
    """
    stage = Stage()
    async with stage.asked("/short") as peer:
        await stage.calls.finish(within_seconds=0)
        stage.end.set()
        await peer.head()
        peer.send("GET", path, headers="Connection: close\r\n")

        assert (await peer.head()).startswith("HTTP/1.1 503 ")
        message = json.loads(await peer.rest())["message"]
        assert "Peitho is stopping, and takes no more calls" == message
