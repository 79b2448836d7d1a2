import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from peitho.errors import InvalidArgument
from peitho.formats.docker import streams
from peitho.formats.docker.streams import STDERR, STDOUT, FrameReader

MESSAGES = st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), st.binary(max_size=400)))


def joined(messages: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """The same output with neighbors of one stream put together."""
    found: list[tuple[int, bytes]] = []
    for stream, data in messages:
        if found and found[-1][0] == stream:
            found[-1] = (stream, found[-1][1] + data)
        elif data:
            found.append((stream, data))
    return found


@given(MESSAGES, st.lists(st.integers(min_value=1, max_value=300), min_size=1))
def test_frames_survive_any_split(messages: list[tuple[int, bytes]], cuts: list[int]) -> None:
    """
    However the network cuts the bytes, the same output comes out.
    """
    wire = b"".join(streams.frame(stream, data) for stream, data in messages)
    reader, found = FrameReader(), []

    position = turn = 0
    while position < len(wire):
        length = cuts[turn % len(cuts)]
        found += reader.feed(wire[position : position + length])
        position, turn = position + length, turn + 1

    assert joined(messages) == joined(found)


@given(st.sampled_from([STDOUT, STDERR]), st.binary(max_size=2000))
@example(STDOUT, b"x" * 127)
@example(STDERR, b"x" * 128)
def test_no_frame_is_longer_than_peers_can_read(stream: int, data: bytes) -> None:
    """
    Every byte of a header is below 0x80, so that what is not taken apart is still UTF-8.
    """
    wire = streams.frames(stream, data)

    position, contents = 0, b""
    while position < len(wire):
        header = wire[position : position + 8]
        assert bytes([stream, 0, 0, 0, 0, 0, 0]) == header[:7]
        assert 0 < header[7] <= 127
        contents += wire[position + 8 : position + 8 + header[7]]
        position += 8 + header[7]
    assert data == contents


def test_a_frame_is_what_the_docker_api_says() -> None:
    """
    Stream, three zeros, length big endian, output.
    """
    assert b"\x02\0\0\0\0\0\x01\x02" + b"x" * 258 == streams.frame(2, b"x" * 258)


def test_nothing_said_is_no_frame() -> None:
    """
    An empty frame would end some readers.
    """
    assert b"" == streams.frames(STDOUT, b"")


@pytest.mark.parametrize("stream", [0, 3, 71, 255])
def test_what_is_no_frame_is_refused(stream: int) -> None:
    """
    Raw output is not taken for frames.
    """
    with pytest.raises(InvalidArgument, match="not a frame of output"):
        FrameReader().feed(bytes([stream, 0, 0, 0, 0, 0, 0, 1, 65]))


def test_a_message_is_a_line_of_json() -> None:
    """
    As dockerd streams its progress.
    """
    progress = streams.stream_message("Step 1\n")

    assert progress.endswith(b"\r\n")
    assert {"stream": "Step 1\n"} == json.loads(progress)
