from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
        ("100000n", "0.0001"),
        ("250u", "0.00025"),
        ("2P", "2000000000000000"),
        ("2E", "2000000000000000000"),
        ("1Pi", "1125899906842624"),
        ("1Ei", "1152921504606846976"),
        ("1e3", "1000"),
        ("1.5E3", "1500"),
        ("12e-2", "0.12"),
        ("1E+6", "1000000"),
        ("+1Gi", "1073741824"),
        ("1.", "1"),
    ],
)
def test_a_quantity_is_a_number(quantity: str, expected: str) -> None:
    """
    In bytes, or in processors.
    """
    assert expected == f"{number(quantity).normalize():f}"


@pytest.mark.parametrize(
    "quantity",
    [
        "1.2.3",
        ".",
        "m",
        "Gi",
        "1 Gi",
        "1Gi ",
        "-1",
        "1gi",
        "1K",
        "1ki",
        "1ni",
        "1e",
        "1e+",
        "1e1.5",
        "1e3k",
        "1e1000",
        "1mm",
        "++1",
        "0x10",
        "inf",
        "٣",
    ],
)
def test_what_is_none_is_refused(quantity: str) -> None:
    """
    With its text.
    """
    with pytest.raises(InvalidArgument, match="not a quantity"):
        number(quantity)


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [("9Ei", 2**63 - 1), ("1e100", 2**63 - 1), ("9" * 60, 2**63 - 1)],
)
def test_what_is_too_much_is_cut_off(quantity: str, expected: int) -> None:
    """
    As Kubernetes has it: to the largest number of 64 bits.
    """
    assert expected == number(quantity)


@pytest.mark.parametrize("quantity", ["0.1n", "1e-12", "1e-999", "1n"])
def test_what_is_too_fine_is_rounded_up(quantity: str) -> None:
    """
    As Kubernetes has it: to a billionth.
    """
    assert Decimal("1e-9") == number(quantity)


@given(st.text(max_size=8))
def test_any_text_is_a_quantity_or_refused(text: str) -> None:
    """
    There is no third.
    """
    with suppress(InvalidArgument):
        assert 0 <= number(text) < 2**63
