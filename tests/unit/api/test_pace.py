"""How long a connection may take for its heads and bodies, on sockets; the clock jumps."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from peitho.api import middleware
from peitho.api.bodies import BODY_MEMORY, Bodies, BodyMemory, chunks
from peitho.api.connection import Connection
from peitho.api.pace import BODY, BodyPace
from tests.support.in_process import listening
from tests.support.wire import Wire, wire

KIB = 1024
PATIENT = BodyPace(silent_seconds=1000.0, window_seconds=1000.0, window_bytes=1)


async def upload(request: web.Request) -> web.StreamResponse:
    """Read a body, and say how long it was."""
    size = 0
    async for chunk in chunks(request):
        size += len(chunk)
    return web.Response(text=f"{size}")


async def build(request: web.Request) -> web.StreamResponse:
    """Read a body that may come late."""
    return await upload(request)


async def wait(_: web.Request) -> web.StreamResponse:
    """Answer in an hour."""
    await asyncio.sleep(3600)
    return web.Response(text="over")


async def hijack(request: web.Request) -> web.StreamResponse:
    """Take the connection, and say something in an hour."""
    connection = Connection.of(request)
    connection.take_over()
    await asyncio.sleep(3600)
    await connection.write(b"HTTP/1.1 101 UPGRADED\r\n\r\nover")
    connection.close()
    return middleware.json_response({})


@asynccontextmanager
async def peer() -> AsyncIterator[Wire]:
    """A peer of a server that has these calls."""
    bodies = Bodies({upload: BODY, build: PATIENT})
    app = web.Application(middlewares=[middleware.answer, bodies.expect])
    app[BODY_MEMORY] = BodyMemory()
    app.add_routes(
        [
            web.put("/upload", upload),
            web.post("/build", build),
            web.post("/wait", wait),
            web.post("/hijack", hijack),
        ]
    )
    async with listening(app) as url, wire(url) as connected:
        yield connected


def now() -> float:
    """The time of the loop, which jumps."""
    return asyncio.get_running_loop().time()


@pytest.mark.parametrize(
    ("sent", "answer", "seconds"),
    [
        (b"", b"", 60),
        (b"G", b"HTTP/1.1 408 Request Timeout\r\n", 10),
        (b"GET /_ping HTTP/1.1\r\nHost: x\r\n", b"HTTP/1.1 408 Request Timeout\r\n", 10),
    ],
)
async def test_a_head_has_to_come_in_time(sent: bytes, answer: bytes, seconds: int) -> None:
    """
    Thousands of half heads were held for ever.
    """
    async with peer() as connected:
        began = now()
        connected.send_more(sent)
        said = await connected.rest()

        assert seconds == pytest.approx(now() - began, abs=2)
    assert said.startswith(answer)


async def test_a_head_that_dribbles_has_no_more_time() -> None:
    """
    A byte now and then does not count.
    """
    async with peer() as connected:
        began = now()
        connected.send_more(b"GET / HTTP/1.1\r\nHost: x\r\nX: ")
        async with asyncio.TaskGroup() as group:
            answer = group.create_task(connected.rest())
            while not answer.done():
                await asyncio.sleep(1)
                connected.send_more(b"x")

        assert now() - began < 15


async def test_a_second_head_has_its_time_too() -> None:
    """
    Between two requests a connection may be idle, as aiohttp says; a half head is not idle.
    """
    async with peer() as connected:
        connected.send("PUT", "/upload", headers="Content-Length: 1\r\n", body=b"a")
        await connected.head()
        assert b"1" == await connected.some(1)
        await asyncio.sleep(1000)
        began = now()
        connected.send_more(b"PUT /upload HTTP/1.1\r\n")

        assert b"HTTP/1.1 408" == (await connected.rest())[:12]
        assert now() - began < 15


async def test_an_endless_head_ends() -> None:
    """
    Aiohttp alone would take a megabyte.
    """
    async with peer() as connected:
        connected.send_more(b"GET / HTTP/1.1\r\n")
        for number in range(20):
            connected.send_more(f"X-{number}: ".encode() + b"x" * 8000 + b"\r\n")

        assert b"HTTP/1.1 4" == (await connected.rest())[:10]


async def test_a_body_that_stops_is_told_and_cut() -> None:
    """
    After a minute, with a status that says why.
    """
    async with peer() as connected:
        began = now()
        connected.send("PUT", "/upload", headers="Content-Length: 9000000\r\n", body=b"x" * 500_000)
        said = await connected.rest()

        assert 60 == pytest.approx(now() - began, abs=11)
    assert said.startswith(b"HTTP/1.1 408 ")
    assert b"the body stopped coming: nothing for 60 s" in said


async def test_a_body_that_dribbles_is_told_and_cut() -> None:
    """
    A byte now and then is no body.
    """
    async with peer() as connected:
        connected.send("PUT", "/upload", headers="Content-Length: 9000000\r\n", body=b"x")
        async with asyncio.TaskGroup() as group:
            answer = group.create_task(connected.head())
            while not answer.done():
                await asyncio.sleep(5)
                connected.send_more(b"x")

    assert answer.result().startswith("HTTP/1.1 408 ")


async def test_a_slow_network_is_not_cut() -> None:
    """
    2 KiB a second, for ten minutes, with a pause of 50 s in it.
    """
    async with peer() as connected:
        size = 600 * 2 * KIB
        connected.send("PUT", "/upload", headers=f"Content-Length: {size}\r\n")
        for number in range(60):
            await asyncio.sleep(50 if number == 30 else 10)
            connected.send_more(b"x" * 20 * KIB)
        await connected.head()

        assert f"{size}".encode() == await connected.some(7)


async def test_a_body_may_begin_late_and_one_of_a_build_may_pause() -> None:
    """
    A peer sends a few bytes of `/build` at once, and the rest once the compile is done.
    """
    async with peer() as connected:
        connected.send("PUT", "/upload", headers="Content-Length: 1\r\n")
        await asyncio.sleep(900)
        connected.send_more(b"x")
        await connected.head()
        assert b"1" == await connected.some(1)
        connected.send("POST", "/build", headers="Content-Length: 20\r\n", body=b"x" * 10)
        await asyncio.sleep(900)
        connected.send_more(b"x" * 10)
        await connected.head()
        assert b"20" == await connected.some(2)


async def test_what_a_peer_waits_for_is_never_cut() -> None:
    """
    Whatever it sends with the call, and however much of that is missing.
    """
    async with peer() as connected:
        connected.send("POST", "/wait", headers="Content-Length: 9000000\r\n", body=b"x" * 100)
        for _ in range(30):
            connected.send_more(b"x" * 100_000)
            await asyncio.sleep(100)

        assert (await connected.head()).startswith("HTTP/1.1 200")
        assert b"over" == await connected.some(4)


async def test_a_connection_that_was_taken_over_is_never_cut() -> None:
    """
    Its peer sends nothing, or half-closes.
    """
    async with peer() as connected:
        connected.send("POST", "/hijack", headers="Content-Length: 0\r\n")
        connected.half_close()
        await connected.head()

        assert b"over" == await connected.rest()
