import asyncio
import errno
import socket
from contextlib import ExitStack

import pytest
from aiohttp import web

from peitho.api.calls import OpenCalls
from peitho.api.connection import Connection
from peitho.api.connections import Connections
from peitho.api.listeners import CannotListen, Listener, listening
from tests.support.wire import wire

_HEADERS = "Content-Length: 8\r\n"


class Stopping:
    """An application on loopback with a short and a long call, and a stop that can be begun."""

    def __init__(self) -> None:
        self.calls = OpenCalls([self.long])
        self.arrived = asyncio.Event()
        self.stop = asyncio.Event()
        self.address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.application = web.Application(middlewares=[self.calls.count])
        self.application.router.add_put("/short", self.short)
        self.application.router.add_post("/long", self.long)

    async def short(self, request: web.Request) -> web.StreamResponse:
        """An upload, which is given back."""
        self.arrived.set()
        return web.Response(body=await request.read())

    async def long(self, _: web.Request) -> web.StreamResponse:
        """Like a wait."""
        self.arrived.set()
        await asyncio.Event().wait()
        return web.Response()

    async def run(self) -> None:
        """Listen until the stop."""
        listener = Listener(self.application, "127.0.0.1:0", self.calls)
        async with listening(listener) as (address,):
            self.address.set_result(address)
            await self.stop.wait()


async def refused(address: str) -> None:
    """Return once nobody is let in any more."""
    host, _, port = address.rpartition(":")
    async with asyncio.timeout(5):
        while True:
            try:
                _, writer = await asyncio.open_connection(host, int(port))
            except ConnectionError:  # a reset, where it was let in just before
                return
            writer.close()
            await asyncio.sleep(0)


async def test_callers_that_come_at_once_are_let_in_a_few_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    The kernel holds all of them meanwhile, and whoever is there already is answered between them.
    """
    let_in: list[asyncio.BaseTransport] = []
    made = Connection.connection_made

    def counted(connection: Connection, transport: asyncio.BaseTransport) -> None:
        let_in.append(transport)
        made(connection, transport)

    monkeypatch.setattr(Connection, "connection_made", counted)
    async with listening(Listener(web.Application(), "127.0.0.1:0")) as (address,):
        host, _, port = address.rpartition(":")
        with ExitStack() as stack:
            for _ in range(600):
                caller = stack.enter_context(socket.socket())
                caller.settimeout(5)
                caller.connect((host, int(port)))
            by_turn = []
            while len(let_in) < 600:
                before = len(let_in)
                await asyncio.sleep(0)
                by_turn.append(len(let_in) - before)

    assert max(by_turn) <= 16


async def test_a_stop_lets_an_upload_finish_and_lets_nobody_in() -> None:
    """
    What a peer has half sent is taken whole, and answered.
    """
    this = Stopping()
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(this.run())
        address = await this.address
        async with wire(f"http://{address}") as peer:
            peer.send("PUT", "/short", headers=_HEADERS, body=b"half")
            await this.arrived.wait()
            this.stop.set()
            await refused(address)
            assert not serving.done()
            peer.send_more(b"more")

            assert (await peer.head()).startswith("HTTP/1.1 200 OK")
            assert b"halfmore" == await peer.rest()


async def test_a_stop_hangs_up_on_what_lasts() -> None:
    """
    As a dockerd does that leaves its containers running: the peer asks the next one.
    """
    this = Stopping()
    async with asyncio.TaskGroup() as group:
        group.create_task(this.run())
        async with asyncio.timeout(5), wire(f"http://{await this.address}") as peer:
            peer.send("POST", "/long")
            await this.arrived.wait()
            this.stop.set()

            assert b"" == await peer.rest()


async def test_an_address_that_is_in_use_ends_all(unused_tcp_port: int) -> None:
    """
    Peitho has all of its listeners or does not run.
    """
    first = Listener(web.Application(), f"127.0.0.1:{unused_tcp_port}")
    with pytest.raises(CannotListen, match=rf"Cannot listen at 127\.0\.0\.1:{unused_tcp_port}: "):
        async with listening(first, first):
            pass

    async with listening(first):
        pass


async def test_no_call_is_taken_before_all_addresses_are_ours(unused_tcp_port: int) -> None:
    """
    What has to be cleared then is cleared before the first call.
    """
    address = ("127.0.0.1", unused_tcp_port)
    told: list[int] = []

    def bound() -> None:
        with socket.socket() as peer:
            told.append(peer.connect_ex(address))

    first = Listener(web.Application(), f"127.0.0.1:{unused_tcp_port}")
    other = Listener(web.Application(), "127.0.0.1:0")
    async with listening(first, other, bound=bound):
        with socket.create_connection(address):
            assert [errno.ECONNREFUSED] == told


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"\x16\x03\x01\x00\xf4\x01\x00\x00\xf0",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /short HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /short HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST /short HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\nabcd",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 9000 + b"\r\n\r\n",
        b"GET " + b"/x" * 5000 + b" HTTP/1.1\r\n\r\n",
    ],
)
async def test_a_malformed_request_is_400_and_closes_its_connection(
    sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """
    And it is no traceback in the log.
    """
    this = Stopping()
    async with asyncio.TaskGroup() as group:
        group.create_task(this.run())
        async with asyncio.timeout(5), wire(f"http://{await this.address}") as peer:
            peer.send_more(sent)
            said = await peer.rest()
        this.stop.set()

    assert b" 400 Bad Request\r\n" == said[8:26]
    assert [] == caplog.records


PLANTED = "Passw0rd"


@pytest.mark.parametrize(
    "sent",
    [
        f"GET / HTTP/1.1\r\nX-Registry-Auth : {PLANTED}\r\n\r\n",
        f"GET / HTTP/1.1\r\nX-Registry-Auth: {PLANTED}\0\r\n\r\n",
        f"GET / HTTP/1.1\r\nX-Registry-Auth: {PLANTED}\n more\r\n\r\n",
        f"GET / HTTP/1.1\r\nX-Registry-Auth: {PLANTED * 2000}\r\n\r\n",
        f"{PLANTED}\r\n\r\n",
        f"PUT /short HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{PLANTED}\r\n",
        f"PUT /short HTTP/1.1\r\nHost: a\r\nContent-Length: {PLANTED}\r\n\r\n",
    ],
)
async def test_what_is_malformed_is_not_repeated(
    sent: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Neither in the answer nor in the log: it may be a key or a password.
    """
    this = Stopping()
    async with asyncio.TaskGroup() as group:
        group.create_task(this.run())
        async with asyncio.timeout(5), wire(f"http://{await this.address}") as peer:
            peer.send_more(sent.encode())
            said = (await peer.rest()).decode()
        this.stop.set()

    logged = capsys.readouterr()
    assert PLANTED not in said + logged.out + logged.err
    assert " 400 Bad Request" in said


async def test_connections_that_are_too_many_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    503, and the connection is closed.
    """
    monkeypatch.setattr(Connections, "allowed", lambda: Connections(most_waiting=9, most_at_work=1))
    this = Stopping()
    async with asyncio.TaskGroup() as group:
        group.create_task(this.run())
        address = await this.address
        async with wire(f"http://{address}") as first, wire(f"http://{address}") as second:
            first.send("PUT", "/short", headers=_HEADERS, body=b"half")
            await this.arrived.wait()
            second.send("PUT", "/short", headers=_HEADERS, body=b"halfmore")
            assert b"HTTP/1.1 503 " == (await second.rest())[:13]
            first.send_more(b"more")
            assert (await first.head()).startswith("HTTP/1.1 200 OK")
        this.stop.set()
