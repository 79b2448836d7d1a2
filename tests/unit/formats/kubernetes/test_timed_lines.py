import itertools

from hypothesis import given
from hypothesis import strategies as st

from peitho.formats.kubernetes.timed_lines import NANOSECONDS, TimedLines

# 2026-01-02T03:04:05Z
AT = 1767323045
LOG = (
    b"2026-01-02T03:04:05.000000001Z one\n"
    b"2026-01-02T05:04:06.5+02:00 two \r words\n"
    b"2026-01-02T03:04:07Z \n"
    b"rpc error: a line of the node's own\n"
    b"2026-01-02T03:04:08.123456789Z four, without an end"
)


def fed(lines: TimedLines, data: bytes, *cuts: int) -> bytes:
    """What comes of a log that is cut in places."""
    places = [0, *sorted(cuts), len(data)]
    return b"".join(lines.feed(data[start:end]) for start, end in itertools.pairwise(places))


def test_timestamps_are_left_out_or_shown_as_docker_shows_them() -> None:
    """
    In UTC, with nine digits.
    """
    assert (
        b"one\ntwo \r words\n\nrpc error: a line of the node's own\nfour, without an end"
        == TimedLines().feed(LOG)
    )
    assert [
        b"2026-01-02T03:04:05.000000001Z one",
        b"2026-01-02T03:04:06.500000000Z two \r words",
        b"2026-01-02T03:04:07.000000000Z ",
        b"rpc error: a line of the node's own",
        b"2026-01-02T03:04:08.123456789Z four, without an end",
    ] == TimedLines(timestamps=True).feed(LOG).split(b"\n")


def test_lines_are_those_of_the_time_that_is_asked_for() -> None:
    """
    To the nanosecond, both ends included.
    """
    since = TimedLines(since_nanoseconds=AT * NANOSECONDS + 2)
    until = TimedLines(until_nanoseconds=AT * NANOSECONDS + 1_500_000_000)
    both = TimedLines(
        since_nanoseconds=AT * NANOSECONDS + 1_500_000_000,
        until_nanoseconds=AT * NANOSECONDS + 1_500_000_000,
    )

    assert since.feed(LOG).startswith(b"two")
    assert b"one\ntwo \r words\n" == until.feed(LOG)
    assert b"two \r words\n" == both.feed(LOG)


def test_a_line_without_a_time_goes_with_the_one_before() -> None:
    """
    A day that is not in the calendar is no time.
    """
    odd = b"2026-02-31T00:00:00Z odd\n"
    late = TimedLines(since_nanoseconds=(AT + 9) * NANOSECONDS)

    assert b"" == late.feed(LOG + b"\n" + odd)
    assert odd == TimedLines(timestamps=True).feed(odd)


@given(st.lists(st.integers(0, len(LOG)), max_size=20), st.booleans())
def test_it_does_not_matter_where_the_network_cuts(cuts: list[int], timestamps: bool) -> None:  # noqa: FBT001  hypothesis gives it
    """
    In a timestamp, or in the middle of a line.
    """
    since = AT * NANOSECONDS + 2
    whole = TimedLines(since_nanoseconds=since, timestamps=timestamps).feed(LOG)
    lines = TimedLines(since_nanoseconds=since, timestamps=timestamps)

    assert whole == fed(lines, LOG, *cuts)


@given(st.binary(max_size=200))
def test_a_log_without_times_is_left_as_it_is(data: bytes) -> None:
    """
    All but a beginning that is still waited for.
    """
    shown = TimedLines().feed(data + b" \n")

    assert data + b" \n" == shown
