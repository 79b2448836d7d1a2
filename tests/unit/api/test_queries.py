import pytest

from peitho.api import queries
from peitho.errors import InvalidArgument
from tests.support.requests import request


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", False),
        ("?f", False),
        ("?f=", False),
        ("?f=0", False),
        ("?f=no", False),
        ("?f=FALSE", False),
        ("?f=none", False),
        ("?f=%20", False),
        ("?f=1", True),
        ("?f=true", True),
        ("?f=True", True),
        ("?f=anything", True),
        ("?g=1", False),
    ],
)
def test_a_flag_is_read_by_dockers_rule(query: str, *, expected: bool) -> None:
    """
    What is not a word for no is yes.
    """
    assert expected == queries.flag(request(f"/x{query}"), "f")


def test_a_flag_that_is_not_there_has_its_default() -> None:
    """
    One that is empty has not.
    """
    assert queries.flag(request("/x"), "f", default=True)
    assert not queries.flag(request("/x?f="), "f", default=True)


def test_a_required_value_is_given_or_missed_by_name() -> None:
    """
    An empty one is none.
    """
    assert "/a b" == queries.required(request("/x?path=%2Fa%20b"), "path")
    for path in ("/x", "/x?path="):
        with pytest.raises(InvalidArgument, match="the query parameter 'path' is missing"):
            queries.required(request(path), "path")


def test_a_version_in_the_path_tells_the_generation_of_the_client() -> None:
    """
    Bare paths are those of the older peers.
    """
    assert queries.is_versioned(request("/v1.51/x", api_version="1.51"))
    assert not queries.is_versioned(request("/x"))
