import json

import pytest
import yaml

from peitho.formats.readable import plain
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

    heads, first, second = (plain(line) for line in lines)
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


@pytest.mark.parametrize("moment", ["", None, "yesterday", "2026-13-99T00:00:00Z"])
def test_an_age_that_nobody_knows_is_empty(moment: str | None) -> None:
    """
    Whoever wrote it.
    """
    assert "" == showing.age(moment)


def test_a_cell_may_be_made_of_a_row() -> None:
    """
    Such as an age.
    """
    made = Column("TWICE", lambda row: row["name"] * 2)

    assert "aa" in showing.table([{"name": "a"}], [made])
