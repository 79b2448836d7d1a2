import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from peitho.api import middleware
from peitho.api.connection import Connection
from peitho.api.connections import Connections
from peitho.api.middleware import Handler
from tests.support.counted import Counted
from tests.support.in_process import listening
from tests.support.taken_over import SAID, Endless, attach
from tests.support.wire import wire


def application(handler: Handler) -> web.Application:
    """A handler below the middleware of the Docker API."""
    app = web.Application(middlewares=[middleware.answer])
    app.router.add_route("*", "/x", handler)
    return app


async def test_a_half_close_at_once_loses_nothing_of_what_follows() -> None:
    """
    60 times, however the request and the half-close meet.
    """
    async with listening(application(attach)) as url:
        for turn in range(60):
            async with wire(url) as peer:
                peer.send("POST", "/x", headers="Content-Length: 0\r\nUpgrade: tcp\r\n")
                if turn % 2:
                    await asyncio.sleep(turn / 30_000)
                peer.half_close()
                assert (await peer.head()).startswith("HTTP/1.1 101 UPGRADED")
                assert SAID == await peer.rest()


async def test_a_connection_that_stays_open_gets_the_same() -> None:
    """
    The newer clients keep their side.
    """
    async with listening(application(attach)) as url, wire(url) as peer:
        peer.send("POST", "/x")
        await peer.head()
        assert SAID == await peer.rest()


async def test_what_is_sent_after_the_request_is_not_taken_for_another() -> None:
    """
    It would be the container's stdin, which none of ours has.
    """
    async with listening(application(attach)) as url, wire(url) as peer:
        peer.send("POST", "/x")
        await peer.head()
        peer.send("GET", "/x")
        assert SAID == await peer.rest()


async def test_a_half_close_on_an_ordinary_request_is_a_hang_up() -> None:
    """
    A wait whose peer is gone is cancelled.
    """
    began, cancelled = asyncio.Event(), asyncio.Event()

    async def waits(_: web.Request) -> web.StreamResponse:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return web.Response()

    async with listening(application(waits)) as url, wire(url) as peer:
        peer.send("POST", "/x")
        await began.wait()
        peer.half_close()
        async with asyncio.timeout(5):
            await cancelled.wait()
            assert b"" == await peer.rest()


async def test_a_half_close_between_requests_ends_the_connection() -> None:
    """
    Nothing is left open for a client that is done.
    """

    async def fine(_: web.Request) -> web.StreamResponse:
        return web.Response(text="ok")

    async with listening(application(fine)) as url, wire(url) as peer:
        peer.send("GET", "/x")
        assert "200 OK" in await peer.head()
        assert b"ok" == await peer.some(2)
        peer.half_close()
        async with asyncio.timeout(5):
            assert b"" == await peer.rest()


async def test_a_writer_waits_for_a_slow_reader_and_hears_of_its_end() -> None:
    """
    Nothing piles up in memory, and nobody writes to a peer that is gone.
    """
    endless = Endless()
    async with listening(application(endless.attach)) as url:
        async with wire(url) as peer:
            peer.send("POST", "/x")
            await peer.some(100_000)
            await endless.until_held_up()
        async with asyncio.timeout(5):
            await endless.ended.wait()

    assert endless.written_bytes < 64 * 1024 * 1024


async def test_a_request_whose_connection_is_gone_has_none() -> None:
    """
    The peer hung up meanwhile.
    """
    connection = Connection(asyncio.Protocol(), Connections.allowed())

    with pytest.raises(ConnectionResetError):
        await connection.write(b"x")


@asynccontextmanager
async def deaf(url: str, sent: bytes) -> AsyncIterator[None]:
    """A client that sends and reads nothing, with next to no room for what it is sent."""
    address = urlsplit(url)
    with socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        peer.settimeout(5)
        await asyncio.to_thread(peer.connect, (address.hostname, address.port))
        await asyncio.to_thread(peer.sendall, sent)
        yield


async def endless(request: web.Request) -> web.StreamResponse:
    """Answer without end."""
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(bytes(100_000))


async def endless_log(request: web.Request) -> web.StreamResponse:
    """Answer so, to a person who may pause."""
    Connection.of(request).let_pause()
    return await endless(request)


async def small(_: web.Request) -> web.Response:
    """Answer at once."""
    return web.Response(body=bytes(10_000))


@pytest.mark.parametrize("handler", [endless, small])
async def test_an_answer_that_nobody_reads_holds_no_connection(handler: Handler) -> None:
    """
    One without end, and very many small ones.
    """
    refused = Counted("peitho_refused_total", "reason")
    async with (
        listening(application(handler)) as url,
        deaf(url, b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n" * 1000),
    ):
        await asyncio.sleep(1)
        assert {} == refused.grown
        await asyncio.sleep(600)
        assert {"slow": 1} == refused.grown


@pytest.mark.parametrize("handler", [endless_log, Endless().attach])
async def test_who_looks_at_output_page_by_page_may_pause(handler: Handler) -> None:
    """
    As with dockerd.
    """
    refused = Counted("peitho_refused_total", "reason")
    async with (
        listening(application(handler)) as url,
        deaf(url, b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n"),
    ):
        await asyncio.sleep(3600)
        assert {} == refused.grown
