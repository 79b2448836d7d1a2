import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from peitho.operators import showing
from peitho.operators.showing import Column, Row, column

COLUMNS = (
    column("NAME", "name", is_cut=True),
    column("PHASE", "phase"),
    column("NODE", "node", is_wide=True),
)
ROWS: list[Row] = [
    {"name": "a", "phase": "running", "node": "n1"},
    {"name": "b" * 60, "phase": "", "node": None},
]


def test_a_table_is_as_kubectl_has_it() -> None:
    """
    With a head, aligned, and a dash for what is not there.
    """
    lines = showing.table(ROWS, COLUMNS).splitlines()

    heads, first, second = (showing.plain(line) for line in lines)
    assert ["NAME", "PHASE"] == [word.strip("\x1b[01m ") for word in heads.split()][:2]
    assert first.startswith("a ")
    assert second == f"{'b' * 39}…   -"


def test_the_wide_table_has_all_and_cuts_nothing() -> None:
    """
    For whoever copies a name.
    """
    shown = showing.table(ROWS, COLUMNS, is_wide=True)

    assert "b" * 60 in shown
    assert "n1" in shown
    assert "NODE" in shown


def test_documents_are_what_programs_read() -> None:
    """
    Each row with all that is known, in their order.
    """
    assert ROWS == json.loads(showing.rendered(ROWS, COLUMNS, "json", none=""))
    assert ROWS == yaml.safe_load(showing.rendered(ROWS, COLUMNS, "yaml", none=""))
    assert [] == json.loads(showing.rendered([], COLUMNS, "json", none="nothing"))
    assert "nothing\n" == showing.rendered([], COLUMNS, "table", none="nothing")
    assert f"a\n{'b' * 60}\n" == showing.rendered(ROWS, COLUMNS, "name", none="")


@pytest.mark.parametrize("sign", ["\x1b[2J", "\r", "\n", "\x9b31m", "\u202e", "\x07"])
def test_nothing_that_a_caller_chose_moves_the_terminal(sign: str) -> None:
    """
    Names are callers', and reasons may be a chaincode's own words.
    """
    shown = showing.table([{"name": f"a{sign}b", "phase": "x"}], COLUMNS)

    assert not set(sign) & set("\x1b\r\x9b\u202e\x07") & set(shown.splitlines()[1])
    assert 2 == len(shown.splitlines())


@given(st.text())
def test_what_is_plain_is_one_line(text: str) -> None:
    """
    Whatever it was.
    """
    assert "\n" not in showing.plain(text)
    assert showing.plain(showing.plain(text)) == showing.plain(text)


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
    assert shown == showing.duration(seconds)
    assert shown == showing.age(1000.0, now=1000.0 + seconds)


@pytest.mark.parametrize("moment", ["", None, "yesterday", "2026-13-99T00:00:00Z"])
def test_an_age_that_nobody_knows_is_empty(moment: str | None) -> None:
    """
    Whoever wrote it.
    """
    assert "" == showing.age(moment)


def test_bytes_are_in_units() -> None:
    """
    Of 1024.
    """
    shown = [showing.size(each) for each in (0, 1023, 1024, 5 * 1024**2, 3 * 1024**3)]

    assert ["0 B", "1023 B", "1.0 KiB", "5.0 MiB", "3.0 GiB"] == shown


def test_a_cell_may_be_made_of_a_row() -> None:
    """
    Such as an age.
    """
    made = Column("TWICE", lambda row: row["name"] * 2)

    assert "aa" in showing.table([{"name": "a"}], [made])
