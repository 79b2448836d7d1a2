import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from tests.lab.recorder import Frame, Recorder

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]

HIJACKED = (
    b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\n"
    b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
)


@asynccontextmanager
async def recorded(script: Script) -> AsyncIterator[tuple[Recorder, Connection]]:
    """A connection through a recorder to a server that follows a script."""
    server = await asyncio.start_server(script, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, Recorder.start("127.0.0.1", port) as recorder:
        url = urlsplit(recorder.url)
        connection = await asyncio.open_connection(url.hostname, url.port)
        yield recorder, connection
        connection[1].close()


async def test_a_half_close_goes_through_and_the_answer_still_comes() -> None:
    """
    A client that shuts its sending half at once, as the older library does, gets all output.
    """

    async def attach(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.write(HIJACKED + b"\x01\0\0\0\0\0\0\x02hi" + b"\x02\0\0\0\0\0\0\x01!")
        writer.close()

    async with recorded(attach) as (recorder, (reader, writer)):
        writer.write(b"POST /containers/1/attach?stream=1 HTTP/1.1\r\nHost:\r\n\r\n")
        writer.write_eof()
        await reader.read()
        (exchange,) = recorder.exchanges()

    assert 101 == exchange.status
    assert exchange.half_closed
    assert exchange.complete
    assert (Frame(1, b"hi"), Frame(2, b"!")) == exchange.frames


async def test_requests_that_share_a_connection_are_told_apart() -> None:
    """
    Lengths, chunks and answers without a body each end where they end.
    """

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"last")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nApi-Version: 1.51\r\n\r\n")
        writer.write(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    async with recorded(answer) as (recorder, (reader, writer)):
        writer.write(b"HEAD /_ping HTTP/1.1\r\nHost: a\r\n\r\n")
        writer.write(b"POST /v1.51/containers/create HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")
        writer.write(b"PUT /last HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"4\r\nlast\r\n0\r\n\r\n")
        await reader.read()
        ping, create, put = recorder.exchanges()

    assert ("HEAD", 200, b"", "1.51") == (
        ping.method,
        ping.status,
        ping.body,
        ping.headers["api-version"],
    )
    assert ("/containers/create", b"{}", b"abcd") == (
        create.path,
        create.request_body,
        create.body,
    )
    assert (b"last", 204, True) == (put.request_body, put.status, put.complete)


async def test_an_upload_that_breaks_off_is_seen_as_such() -> None:
    """
    A build that a peer gives up ends without the last chunk.
    """
    ended = asyncio.Event()

    async def build(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        ended.set()

    async with recorded(build) as (recorder, (_, writer)):
        writer.write(b"POST /build?t=a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        writer.close()
        await ended.wait()
        (exchange,) = recorder.exchanges()

    assert b"abc" == exchange.request_body
    assert not exchange.request_complete
    assert 0 == exchange.status
