import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from peitho.clients import probe


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A port of loopback at which somebody listens, who hangs up at once."""

    def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
def closed() -> int:
    """A port of loopback at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


async def test_who_listens_does_not_refuse(port: int) -> None:
    """
    Though nothing is said, and the connection is gone at once.
    """
    assert not await probe.is_refused("127.0.0.1", port)
    assert not await probe.is_refused("localhost", port)


async def test_a_closed_port_refuses(closed: int) -> None:
    """
    The host is there, and its peer is not.
    """
    assert await probe.is_refused("127.0.0.1", closed)


async def test_a_host_that_is_none_refuses() -> None:
    """
    The Service of a peer that was uninstalled.
    """
    assert await probe.is_refused("peer0.invalid", 7052)


async def test_silence_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The same host, if no answer about it comes in time.
    """
    monkeypatch.setattr(probe, "_TIMEOUT_SECONDS", 0)

    assert not await probe.is_refused("peer0.invalid", 7052)


@pytest.mark.parametrize("host", ["240.0.0.1", "2001:db8::1"])
async def test_no_route_is_no_refusal(host: str) -> None:
    """
    The peer has not said anything.
    """
    assert not await probe.is_refused(host, 7052)


async def test_a_name_server_that_does_not_answer_is_no_refusal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    It is not the peer's word, and soon over.
    """

    def away(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", away)

    assert not await probe.is_refused("peer0.example", 7052)
