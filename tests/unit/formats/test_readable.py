import pytest
from hypothesis import given
from hypothesis import strategies as st

from peitho.formats import readable


@given(st.text())
def test_what_is_plain_is_one_line(text: str) -> None:
    """
    Whatever it was.
    """
    assert "\n" not in readable.plain(text)
    assert readable.plain(readable.plain(text)) == readable.plain(text)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0s"),
        (59.9, "59s"),
        (60, "1m"),
        (312, "5m12s"),
        (1200, "20m"),
        (3700, "1h1m"),
        (90000, "1d1h"),
        (30 * 86400, "30d"),
        (-5, "0s"),
    ],
)
def test_a_time_is_in_its_largest_units(seconds: float, shown: str) -> None:
    """
    As kubectl shows ages.
    """
    assert shown == readable.duration(seconds)
    assert shown == readable.age(1000.0, now=1000.0 + seconds)


def test_bytes_are_in_units() -> None:
    """
    Of 1024.
    """
    shown = [readable.size(each) for each in (0, 1023, 1024, 5 * 1024**2, 3 * 1024**3)]

    assert ["0 B", "1023 B", "1.0 KiB", "5.0 MiB", "3.0 GiB"] == shown


@pytest.mark.parametrize("moment", ["", None, "yesterday", "2026-13-99T00:00:00Z"])
def test_an_age_that_nobody_knows_is_empty(moment: str | None) -> None:
    """
    Whoever wrote it.
    """
    assert "" == readable.age(moment, now=0.0)


def test_lines_stay_lines_without_what_a_terminal_would_do() -> None:
    """
    Colors of a compiler are left out, and a line that was written over is a line of its own.
    """
    said = "a\x1b[31;1mb\x1b[0m\r\n\tc\rd\x07\u202ee\x00\n"

    assert "ab\n\tc\nd e \n" == readable.plain_lines(said)
