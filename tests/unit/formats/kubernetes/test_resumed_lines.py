import pytest
from hypothesis import given
from hypothesis import strategies as st

from peitho.formats.kubernetes.resumed_lines import ResumedLines

LINES = [
    b"2026-01-02T03:04:05.1Z one\n",
    b"2026-01-02T03:04:05.1Z one\n",
    b"2026-01-02T03:04:05.100000001Z \n",
    b"2026-01-02T03:04:06.5Z two words\rand more\n",
    b"2026-01-02T03:04:06.6Z no end",
]
LOG = b"".join(LINES)


def since(seconds: int) -> bytes:
    """What the API server gives of the log: lines of the second, and later ones."""
    return LOG if seconds <= 1767323045 else b"".join(LINES[3:])


@given(st.lists(st.tuples(st.integers(0, len(LOG)), st.integers(1, 40))))
def test_wherever_it_is_cut_each_byte_comes_once(cuts: list[tuple[int, int]]) -> None:
    """
    Also where two lines are equal, timestamp and all.
    """
    lines, said = ResumedLines(), b""
    for length, size in [*cuts, (len(LOG), 7)]:
        stream = since(lines.since_seconds)[:length]
        for at in range(0, len(stream), size):
            said += lines.feed(stream[at : at + size])
        lines.resume()

    assert LOG == said


@given(st.lists(st.integers(0, 40)))
def test_lines_without_timestamps_are_counted(cuts: list[int]) -> None:
    """
    All of them are asked for again then.
    """
    log = b"one\none\n\nthree and more\n"
    lines, said = ResumedLines(), b""
    for length in [*cuts, len(log)]:
        said += lines.feed(log[:length])
        assert 0 == lines.since_seconds
        lines.resume()

    assert log == said


def test_a_clock_that_is_set_back_loses_no_line() -> None:
    """
    In the middle of a stream; it is the node's clock.
    """
    log = b"2026-01-02T03:04:06Z one\n2026-01-02T03:04:05Z two\n"

    assert log == ResumedLines().feed(log)


def test_the_beginning_of_a_last_line_is_no_timestamp() -> None:
    """
    Nothing is held back when the log has ended.
    """
    lines = ResumedLines()

    assert b"one\n" == lines.feed(b"one\ntwo")
    assert b"two" == lines.rest()


@pytest.mark.parametrize("end", [b"", b"\n"])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_what_a_node_says_of_the_log_is_not_in_it(end: bytes, size: int) -> None:
    """
    It writes into the stream, without a timestamp, why it reads no further.
    """
    word = b'failed to get container status "9111": rpc error: code = NotFound: not found' + end
    lines, said = ResumedLines(), b""
    for stream in (b"".join(LINES[:4]) + word, word, b"NotFound"):
        for at in range(0, len(stream), size):
            said += lines.feed(stream[at : at + size])
        said += lines.rest()
        lines.resume()

    assert b"".join(LINES[:4]) == said
