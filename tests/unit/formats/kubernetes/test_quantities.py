import pytest

from peitho.errors import InvalidArgument
from peitho.formats.kubernetes.quantities import number


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [
        ("", "0"),
        ("2", "2"),
        ("1.5", "1.5"),
        (".5", "0.5"),
        ("500m", "0.5"),
        ("64Ki", "65536"),
        ("1.5Gi", "1610612736"),
        ("2G", "2000000000"),
        ("3k", "3000"),
        ("1Mi", "1048576"),
        ("1M", "1000000"),
        ("1Ti", "1099511627776"),
        ("1T", "1000000000000"),
    ],
)
def test_a_quantity_is_a_number(quantity: str, expected: str) -> None:
    """
    In bytes, or in processors.
    """
    assert expected == f"{number(quantity).normalize():f}"


@pytest.mark.parametrize("quantity", ["1.2.3", ".", "m", "Gi", "1 Gi", "-1", "1e3", "1gi", "٣"])
def test_what_is_none_is_refused(quantity: str) -> None:
    """
    With its text.
    """
    with pytest.raises(InvalidArgument, match="not a quantity"):
        number(quantity)
