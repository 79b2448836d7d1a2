import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peitho.formats import operator_token

KEY = secrets.token_bytes(32)


def test_whoever_has_the_key_has_the_token() -> None:
    """
    Of this directory and no other.
    """
    header = f"Bearer {operator_token.issue(KEY)}"

    assert operator_token.opens(header, KEY)
    assert operator_token.opens(header.replace("Bearer", "bearer"), KEY)
    assert not operator_token.opens(header, secrets.token_bytes(32))


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic x", "\u00e9 \ud800"])
def test_anything_else_opens_nothing(header: str) -> None:
    """
    Nor does it fail.
    """
    assert not operator_token.opens(header, KEY)


@given(st.text())
def test_no_text_opens_by_chance(text: str) -> None:
    """
    With or without the word before it.
    """
    assert not operator_token.opens(text, KEY)
    assert not operator_token.opens(f"Bearer {text}", KEY)
