import pytest

from peitho.api import output
from peitho.core.container import Said
from peitho.formats.docker import streams
from peitho.formats.docker.streams import STDERR, STDOUT
from tests.support.requests import request

FRAMED = streams.frame(STDOUT, b"a") + streams.frame(STDERR, b"b")


async def said() -> Said:
    """What a container says on both streams."""
    yield STDOUT, b"a"
    yield STDERR, b"b"


@pytest.mark.parametrize(
    ("match", "kind", "expected"),
    [
        ({}, "multiplexed-stream", FRAMED),
        ({"api_version": "1.51"}, "raw-stream", b"ab"),
    ],
)
async def test_output_is_framed_or_raw_by_the_clients_generation(
    match: dict[str, str], kind: str, expected: bytes
) -> None:
    """
    With the Content-Type that says so.
    """
    asked, written = request("/x", **match), bytearray()

    async def write(data: bytes) -> None:
        written.extend(data)

    await output.send(said(), asked, write)

    assert expected == written
    assert f"application/vnd.docker.{kind}" == output.content_type(asked)


async def test_output_is_closed_when_its_reader_is_gone() -> None:
    """
    Whatever it holds open is given back at once.
    """
    closed = False

    async def endless() -> Said:
        nonlocal closed
        try:
            while True:
                yield STDOUT, b"a"
        finally:
            closed = True

    async def gone(_: bytes) -> None:
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await output.send(endless(), request("/x"), gone)

    assert closed
