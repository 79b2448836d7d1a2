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
    Bare paths are those of the older peers; the docker command is told by its name.
    """
    versioned = request("/v1.51/x", api_version="1.51")
    cli = request("/v1.51/x", api_version="1.51", agent="Docker-Client/20.10.24 (linux)")
    peer = request("/v1.51/x", api_version="1.51", agent="moby-client/v0.4.1 linux/amd64")

    assert queries.takes_raw_output(versioned)
    assert queries.takes_raw_output(peer)
    assert not queries.takes_raw_output(cli)
    assert not queries.takes_raw_output(request("/x"))


@pytest.mark.parametrize(("value", "expected"), [("", 7), ("0", 0), ("-1", -1), ("+5", 5)])
def test_a_number_is_whole(value: str, expected: int) -> None:
    """
    An empty one is the default.
    """
    assert expected == queries.number(request(f"/x?n={value.replace('+', '%2B')}"), "n", default=7)
    assert 7 == queries.number(request("/x"), "n", default=7)


@pytest.mark.parametrize("value", ["x", "1.5", "1e3", "99999999999", "%D9%A1"])
def test_what_is_no_number_is_named(value: str) -> None:
    """
    And not taken for nothing.
    """
    with pytest.raises(InvalidArgument, match="invalid value for 'n'"):
        queries.number(request(f"/x?n={value}"), "n", default=0)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", 0),
        ("0", 0),
        ("1767323045", 1767323045_000000000),
        ("1767323045.5", 1767323045_500000000),
        ("1767323045.000000001", 1767323045_000000001),
        ("1767323045.0000000019", 1767323045_000000001),
    ],
)
def test_a_time_is_unix_seconds_with_a_fraction(value: str, expected: int) -> None:
    """
    As the CLI makes it of a date or a duration.
    """
    assert expected == queries.nanoseconds(request(f"/x?since={value}"), "since")


@pytest.mark.parametrize("value", ["-1", "5m", "2026-01-02", "253402300800", "9" * 30])
def test_what_is_no_time_is_named(value: str) -> None:
    """
    The last second is that of the year 9999.
    """
    with pytest.raises(InvalidArgument, match="invalid value for 'since'"):
        queries.nanoseconds(request(f"/x?since={value}"), "since")
