import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from aiohttp import web

from peitho.api import middleware
from peitho.api.bodies import BODY_MEMORY, Bodies, BodyMemory
from peitho.api.pace import BODY
from tests.support.in_process import listening
from tests.support.wire import wire

KIB = 1024


async def create(request: web.Request) -> web.StreamResponse:
    """Read a body whole, and say how long it was."""
    async with request.config_dict[BODY_MEMORY].whole(request) as body:
        return web.Response(text=f"{len(body)}")


async def start(_: web.Request) -> web.StreamResponse:
    """Read no body."""
    return web.Response(text="started")


@asynccontextmanager
async def server(*, limit_bytes: int) -> AsyncIterator[str]:
    """A server that has memory for so many bytes of bodies."""
    app = web.Application(
        middlewares=[middleware.answer, Bodies({create: BODY}).expect], client_max_size=64 * KIB
    )
    app[BODY_MEMORY] = BodyMemory(limit_bytes)
    app.add_routes([web.post("/create", create), web.post("/start", start)])
    async with listening(app) as url:
        yield url


async def test_a_body_past_the_limit_is_400_and_ends_the_connection() -> None:
    """
    Nothing of what follows is read.
    """
    async with server(limit_bytes=1024 * KIB) as url, wire(url) as peer:
        peer.send("POST", "/create", headers="Content-Length: 99999\r\n", body=b"x" * 70 * KIB)
        assert "400 Bad Request" in await peer.head()


async def test_the_largest_body_on_its_way_goes_when_all_are_too_large_together() -> None:
    """
    Half bodies cannot keep a peer's small one waiting.
    """
    async with server(limit_bytes=100 * KIB) as url, AsyncExitStack() as stack:
        half = [await stack.enter_async_context(wire(url)) for _ in range(3)]
        for peer, size in zip(half, (30, 40, 20), strict=True):
            headers = f"Content-Length: {60 * KIB}\r\n"
            peer.send("POST", "/create", headers=headers, body=b"x" * size * KIB)
            await asyncio.sleep(0.1)
        small = await stack.enter_async_context(wire(url))
        small.send("POST", "/create", headers=f"Content-Length: {20 * KIB}\r\n")
        small.send_more(b"x" * 20 * KIB)

        assert "200 OK" in await small.head()
        assert "503 Service Unavailable" in await half[1].head()
        assert b"more request bodies are on their way" in await half[1].rest()
        half[0].send_more(b"x" * 30 * KIB)
        assert "200 OK" in await half[0].head()


async def test_memory_comes_back() -> None:
    """
    Of bodies that were answered, cut or refused.
    """
    async with server(limit_bytes=50 * KIB) as url:
        for turn in range(20):
            async with wire(url) as peer:
                size = 20 * KIB
                peer.send("POST", "/create", headers=f"Content-Length: {size}\r\n")
                peer.send_more(b"x" * (size if turn % 2 else 10 * KIB))
                if turn % 2:
                    assert "200 OK" in await peer.head()


async def test_what_a_call_does_not_read_is_dropped() -> None:
    """
    And the connection goes on to be of use.
    """
    async with server(limit_bytes=50 * KIB) as url, wire(url) as peer:
        for _ in range(2):
            peer.send("POST", "/start", headers="Content-Length: 3000000\r\n")
            peer.send_more(b"x" * 3_000_000)
            assert "200 OK" in await peer.head()
            assert b"started" == await peer.some(7)


async def test_a_body_in_broken_chunks_ends_the_connection() -> None:
    """
    Nobody can tell where the next request would begin; aiohttp would wait for the caller.
    """
    async with server(limit_bytes=50 * KIB) as url, wire(url) as peer:
        peer.send("POST", "/create", headers="Transfer-Encoding: chunked\r\n", body=b"1\r\nx\r\n")
        await asyncio.sleep(1)
        peer.send_more(b"zz\r\nx\r\n")
        assert "408 Request Timeout" in await peer.head()
        assert (await peer.rest()).startswith(b'{"message": "the body')
