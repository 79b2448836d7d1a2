import asyncio
import gc
import resource
import ssl
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import structlog.testing
from aiohttp import web

from peitho.api import middleware
from peitho.api.middleware import Handler
from peitho.clients.tls import CertificateFiles
from tests.support.in_process import listening
from tests.support.observe import until
from tests.support.taken_over import SAID, Endless, attach
from tests.support.tls_wire import TlsStream, client, first_words, tls_wire
from tests.support.wire import wire

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def files(folder: Path, *, ca: Path | None = None) -> CertificateFiles:
    """The certificate that a server shows."""
    return CertificateFiles(
        "these", ca, folder / "apiserver.crt", folder / "apiserver.key", is_server=True
    )


@asynccontextmanager
async def served(handler: Handler, tls: CertificateFiles) -> AsyncIterator[str]:
    """A handler below the middleware of the Docker API, at `/x`."""
    app = web.Application(middlewares=[middleware.answer], client_max_size=2**30)
    app.router.add_route("*", "/x", handler)
    async with listening(app, tls=tls) as url:
        yield url


async def ok(request: web.Request) -> web.StreamResponse:
    """Tell how long the body was."""
    length = 0
    async for chunk in request.content.iter_any():
        length += len(chunk)
    return web.Response(text=f"{length} {request.scheme}")


@pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])
async def test_a_close_notify_at_once_loses_nothing_of_what_follows(
    certificates: Path, version: ssl.TLSVersion
) -> None:
    """
    It is the half-close of the older clients, 30 times, however it and the request meet.
    """
    folder = certificates / "ours"
    async with served(attach, files(folder)) as url:
        for turn in range(30):
            async with tls_wire(url, client(folder, version=version)) as peer:
                peer.send("POST", "/x", headers="Content-Length: 0\r\nUpgrade: tcp\r\n")
                if turn % 2:
                    await asyncio.sleep(turn / 10_000)
                peer.half_close()
                assert (await peer.head()).startswith("HTTP/1.1 101 UPGRADED")
                assert SAID == await peer.rest()


@pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])
async def test_calls_follow_each_other_on_one_connection(
    certificates: Path, version: ssl.TLSVersion
) -> None:
    """
    A body of many records, and one of none.
    """
    folder = certificates / "ours"
    async with (
        served(ok, files(folder)) as url,
        tls_wire(url, client(folder, version=version)) as peer,
    ):
        for length in (0, 5_000_000, 1):
            peer.send("PUT", "/x", headers=f"Content-Length: {length}\r\n", body=bytes(length))
            assert "200 OK" in await peer.head()
            said = f"{length} https".encode()
            assert said == await peer.some(len(said))


async def test_a_close_notify_on_an_ordinary_request_is_a_hang_up(certificates: Path) -> None:
    """
    A wait whose peer is gone is cancelled; so is one whose peer broke off within a record.
    """
    folder = certificates / "ours"
    began, cancelled = asyncio.Event(), asyncio.Event()

    async def waits(_: web.Request) -> web.StreamResponse:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return web.Response()

    async with served(waits, files(folder)) as url, asyncio.timeout(10):
        for hang_up in (TlsStream.write_eof, TlsStream.cut, TlsStream.close, TlsStream.garble):
            began.clear()
            cancelled.clear()
            async with tls_wire(url, client(folder)) as peer:
                peer.send("POST", "/x")
                await began.wait()
                hang_up(peer.stream)
                await cancelled.wait()


async def test_a_writer_waits_for_a_slow_reader_and_hears_of_its_end(certificates: Path) -> None:
    """
    Nothing piles up in memory, and nobody writes to a peer that is gone.
    """
    folder, endless = certificates / "ours", Endless()
    async with served(endless.attach, files(folder)) as url:
        async with tls_wire(url, client(folder)) as peer:
            peer.send("POST", "/x")
            await peer.some(100_000)
            await endless.until_held_up()
        async with asyncio.timeout(5):
            await endless.ended.wait()

    assert endless.written_bytes < 64 * 1024 * 1024


async def test_a_slow_handler_holds_a_fast_peer_up(certificates: Path) -> None:
    """
    What has come is not read into memory until the handler asks for it, and then is all there.
    """
    go_on = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        await go_on.wait()
        return await ok(request)

    folder, length = certificates / "ours", 30_000_000
    async with served(slow, files(folder)) as url, tls_wire(url, client(folder)) as peer:
        peer.send("PUT", "/x", headers=f"Content-Length: {length}\r\n", body=bytes(length))
        await asyncio.sleep(0.5)
        assert peer.stream.unsent_bytes > length / 2
        go_on.set()
        assert "200 OK" in await peer.head()
        assert b"30000000 https" == await peer.some(14)


async def test_who_says_nothing_is_let_go(certificates: Path) -> None:
    """
    After ten seconds, in the middle of a handshake as before it.
    """
    folder = certificates / "ours"
    hello = first_words(client(folder))
    async with served(ok, files(folder)) as url, asyncio.timeout(60):
        address = urlsplit(url)
        for words in (b"", hello[:20], hello):
            reader, writer = await asyncio.open_connection(address.hostname, address.port)
            began = asyncio.get_running_loop().time()
            writer.write(words)
            await reader.read()
            assert 9.9 < asyncio.get_running_loop().time() - began < 15
            writer.close()


async def test_handshakes_that_come_to_no_end_keep_nobody_out(
    certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The oldest go before their time; connections with their hands shaken stay.
    """
    folder = certificates / "ours"
    hello = first_words(client(folder))
    most, more = 100, 5
    monkeypatch.setattr(resource, "getrlimit", lambda _: (8 * most, 8 * most))
    async with served(ok, files(folder)) as url, tls_wire(url, client(folder)) as old:
        address, began = urlsplit(url), []
        with structlog.testing.capture_logs() as told:
            for _ in range(most + more):
                reader, writer = await asyncio.open_connection(address.hostname, address.port)
                writer.write(hello)
                began.append((reader, writer))
            async with asyncio.timeout(5):  # half of what they have
                for reader, _ in began[:more]:
                    await reader.read()
            assert [False, False] == [began[at][0].at_eof() for at in (more, -1)]
        async with tls_wire(url, client(folder)) as new:
            for peer in (old, new):
                peer.send("GET", "/x")
                assert "200 OK" in await peer.head()
        for _, writer in began:
            writer.close()
    causes = [event["cause"] for event in told if event["event"] == "tls handshake failed"]
    assert ["too many others have begun since"] * more == causes


async def test_plain_http_is_told_what_is_missing(certificates: Path) -> None:
    """
    In the words of dockerd, which a peer's log then has.
    """
    async with served(ok, files(certificates / "ours")) as url, wire(url) as peer:
        peer.send("GET", "/x")
        said = await peer.rest()

    assert said.startswith(b"HTTP/1.0 400 ")
    assert b"Client sent an HTTP request to an HTTPS server" in said


async def test_older_versions_of_tls_and_foreign_certificates_are_refused(
    certificates: Path,
) -> None:
    """
    The log says who was refused and why.
    """
    folder, foreign = certificates / "ours", client(certificates / "others")
    foreign.load_verify_locations(folder / "ca.crt")
    old = client(folder)
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")

    async with served(ok, files(folder, ca=folder / "ca.crt")) as url:
        with structlog.testing.capture_logs() as told:
            for context in (foreign, old):
                with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):  # noqa: PT012  in 1.3 the first read tells
                    async with tls_wire(url, context) as peer:
                        peer.send("GET", "/x")
                        await peer.head()

    causes = [event["cause"] for event in told if event["event"] == "tls handshake failed"]
    assert ["CERTIFICATE_VERIFY_FAILED", "UNSUPPORTED_PROTOCOL"] == causes


async def test_new_connections_have_the_renewed_certificate_and_old_ones_go_on(
    certificates: Path,
) -> None:
    """
    As cert-manager and the kubelet renew it.
    """
    ours, others = certificates / "ours", certificates / "others"
    async with served(ok, files(ours)) as url, tls_wire(url, client(ours)) as old:
        for name in ("apiserver.crt", "apiserver.key"):
            (ours / name).write_bytes((others / name).read_bytes())

        async with tls_wire(url, client(others)) as new:
            for peer in (old, new):
                peer.send("GET", "/x")
                assert "200 OK" in await peer.head()
                assert b"0 https" == await peer.some(7)


async def test_a_connection_that_is_over_holds_no_memory(certificates: Path) -> None:
    """
    What TLS took for it, tens of KiB, goes at once and waits for no garbage collector.
    """
    folder = certificates / "ours"
    seen: list[weakref.ref[object]] = []

    async def seen_by(request: web.Request) -> web.StreamResponse:
        seen.append(weakref.ref(request.get_extra_info("ssl_object")))
        return await ok(request)

    gc.disable()
    try:
        async with served(seen_by, files(folder)) as url:
            async with tls_wire(url, client(folder)) as peer:
                peer.send("GET", "/x")
                assert (await peer.head()).startswith("HTTP/1.1 200")
            await until(lambda: all(each() is None for each in seen))
    finally:
        gc.enable()
    assert 1 == len(seen)
