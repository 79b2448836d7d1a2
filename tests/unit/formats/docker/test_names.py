import re

import pytest
from hypothesis import given

from peitho.errors import InvalidArgument
from peitho.formats.docker import names
from tests.support.drawn_names import CONTAINER_NAMES


@given(CONTAINER_NAMES)
def test_a_valid_container_name_is_taken(name: str) -> None:
    """
    With Docker's leading slash or without, the name is the same.
    """
    assert name == names.valid_container_name(name)
    assert name == names.valid_container_name(f"/{name}")


@pytest.mark.parametrize("name", ["", "/", "a", "_a", "-a", "a/b", "a b", "//ab", "aé", "ab\0"])
def test_an_invalid_container_name_is_refused_in_dockers_words(name: str) -> None:
    """
    What dockerd refuses is refused, with its own message.
    """
    message = re.escape(f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-]")
    with pytest.raises(InvalidArgument, match=message):
        names.valid_container_name(name)


def test_a_line_end_is_no_part_of_a_name() -> None:
    """
    It would be one of a header.
    """
    with pytest.raises(InvalidArgument):
        names.valid_container_name("mycc\n")
