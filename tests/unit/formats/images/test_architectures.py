import pytest

from peitho.errors import InvalidArgument
from peitho.formats.images.architectures import checked, go_name


@pytest.mark.parametrize(
    ("machine", "expected"), [("x86_64", "amd64"), ("aarch64", "arm64"), ("s390x", "s390x")]
)
def test_a_machine_goes_by_gos_name(machine: str, expected: str) -> None:
    """
    As the images that nodes pull have it.
    """
    assert expected == go_name(machine)


@pytest.mark.parametrize("name", ["", "amd64", "arm64", "x86_64"])
def test_a_name_that_a_node_may_have_is_taken(name: str) -> None:
    """
    Or none, where it is not known.
    """
    assert name == checked(name)


@pytest.mark.parametrize("name", ["a b", "-", "a" * 64, "\0", "amd64\n", "é", "a/b"])
def test_a_name_that_no_node_has_is_refused(name: str) -> None:
    """
    Or no chaincode of that build could be launched.
    """
    with pytest.raises(InvalidArgument, match="no name of an architecture"):
        checked(name)
