import pytest

from peitho.formats import stars


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("peer0", "peer0", True),
        ("peer0", "peer01", False),
        ("peer0", "Peer0", False),
        ("*", "", True),
        ("peer*", "peer0.org1", True),
        ("peer*.org1", "peer0.org1", True),
        ("peer*.org1", "peer0.org1.evil", False),
        ("*.org1*", "peer0.org1", True),
        ("a*a", "a", False),
        ("a*b*c", "a-b-c", True),
        ("a*b*c", "a-c-b", False),
        ("a.c", "abc", False),
        ("a*c", "a\n\0c", True),
    ],
)
def test_a_star_is_any_text_and_nothing_else_is_special(
    pattern: str,
    text: str,
    expected: bool,  # noqa: FBT001  pytest gives it by its name
) -> None:
    """
    A pattern is of the whole text.
    """
    assert expected == stars.matches(pattern, text)
