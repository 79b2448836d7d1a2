import fnmatch
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peitho.errors import Unsupported
from peitho.formats.docker import patterns

CHARACTERS = st.sampled_from(["a", "b", "-", "/", ".", "\\."])
PARTS = st.builds(str.__add__, CHARACTERS, st.sampled_from(["", "", "*", "+", "?"]))
EXPRESSIONS = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "^"]),
    st.lists(PARTS, max_size=6).map("".join),
    st.sampled_from(["", "$"]),
)
TEXTS = st.text("ab-/.", max_size=8)


@given(EXPRESSIONS, TEXTS)
def test_an_expression_means_what_it_means_elsewhere(expression: str, text: str) -> None:
    """
    As far as it is known here.
    """
    expected = re.search(expression, text) is not None

    assert expected == patterns.regular_expression(expression).matches(text)


@given(st.lists(st.sampled_from(["a", "b", "*", "?", ":"]), max_size=6).map("".join), TEXTS)
def test_a_glob_means_what_it_means_elsewhere(pattern: str, text: str) -> None:
    """
    But that no sign stands for a slash.
    """
    expected = fnmatch.fnmatchcase(text, pattern) and pattern.count("/") == text.count("/")

    assert expected == patterns.glob(pattern).matches(text)


@pytest.mark.parametrize(
    "pattern", ["(a|b)", "[ab]", "a{2}", r"\d", "a|b", "a$b", "a^", "*", "a**", "a*?", "a" * 501]
)
def test_an_expression_that_is_not_known_is_named(pattern: str) -> None:
    """
    It is not taken for anything else.
    """
    with pytest.raises(Unsupported, match=f"the pattern '{re.escape(pattern[:20])}".split("\\")[0]):
        patterns.regular_expression(pattern)


def test_a_glob_that_is_not_known_is_named() -> None:
    """
    Classes are not.
    """
    with pytest.raises(Unsupported, match="the pattern"):
        patterns.glob("[ab]*")


def test_no_pattern_takes_for_ever() -> None:
    """
    Python's own matcher would, over this one.
    """
    pattern = patterns.regular_expression("a*" * 200 + "b")
    began = time.monotonic()

    assert not pattern.matches("a" * 200)
    assert time.monotonic() - began < 5
