import pytest

from peitho.api.page import layout
from peitho.api.page.html import element
from peitho.api.page.layout import Column, Look


@pytest.mark.parametrize(
    ("asked", "rows", "expected"),
    [
        ("1", 0, (1, 1, slice(0, 50))),
        ("2", 120, (2, 3, slice(50, 100))),
        ("9", 120, (3, 3, slice(100, 150))),
        ("0", 120, (1, 3, slice(0, 50))),
        ("-1", 120, (1, 3, slice(0, 50))),
        ("x", 120, (1, 3, slice(0, 50))),
        ("9" * 5000, 120, (1, 3, slice(0, 50))),
    ],
)
def test_any_page_that_is_asked_for_is_one(
    asked: str, rows: int, expected: tuple[int, int, slice]
) -> None:
    """
    Whatever stands in the address.
    """
    assert expected == layout.of_page(asked, rows=rows, most=50)


@pytest.mark.parametrize(
    ("path", "root"), [("/", "./"), ("/status/builds", "../"), ("/status/builds/x", "../../")]
)
def test_links_lead_from_wherever_a_page_is(path: str, root: str) -> None:
    """
    A front may have the listener below a path of its own.
    """
    assert root == Look.at(path, now=0.0, has_tenants=False).root


def test_a_table_is_read_out_with_its_heads() -> None:
    """
    It has a caption, heads with a scope, and a name in each row.
    """
    table = layout.table("What", [Column("A", is_name=True), Column("B")], [("x", "")], none="-")

    assert "<caption>What</caption>" in table.source
    assert 2 == table.source.count('scope="col"')
    assert 1 == table.source.count('scope="row"')
    assert element("p", "none", class_="none") == layout.table("What", [], [], none="none")


def test_what_is_long_is_cut() -> None:
    """
    And said to be.
    """
    assert f"{'x' * 299}\u2026" == layout.cut("x" * 5000)
