import pytest

from peitho.api import output
from peitho.core.container import OutputOptions, Said
from peitho.errors import InvalidArgument, Unsupported
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


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("stdout=1&stderr=1", OutputOptions()),
        ("stdout=1&tail=all", OutputOptions(stderr=False)),
        ("stderr=1&tail=5&follow=1", OutputOptions(follow=True, tail_lines=5, stdout=False)),
        ("stdout=1&stderr=1&tail=-1&timestamps=1", OutputOptions(timestamps=True)),
        (
            "stdout=1&stderr=1&since=1&until=2.5",
            OutputOptions(since_nanoseconds=10**9, until_nanoseconds=25 * 10**8),
        ),
    ],
)
def test_logs_are_asked_for_with_options(query: str, expected: OutputOptions) -> None:
    """
    A tail of all, or of less than none, is everything.
    """
    assert expected == output.options_of_logs(request(f"/x?{query}"))


def test_logs_of_no_stream_are_refused_in_dockers_words() -> None:
    """
    A number of lines that is none, too; what Peitho lacks is told from it.
    """
    with pytest.raises(InvalidArgument, match="you must choose at least one stream"):
        output.options_of_logs(request("/x?follow=1"))
    with pytest.raises(InvalidArgument, match="invalid value for 'tail'"):
        output.options_of_logs(request("/x?stdout=1&tail=some"))
    with pytest.raises(Unsupported, match="'until' together with 'follow'"):
        output.options_of_logs(request("/x?stdout=1&follow=1&until=5"))


def test_attach_is_asked_for_with_options() -> None:
    """
    Without `logs`, nothing of what was said before.
    """
    both = request("/x?logs=1&stderr=1&stdout=1&stream=1")
    later = request("/x?stdout=1&stream=1")

    assert OutputOptions(follow=True) == output.options_of_attach(both)
    assert OutputOptions(follow=True, tail_lines=0, stderr=False) == output.options_of_attach(later)
