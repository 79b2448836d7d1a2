import pytest

from peitho.formats.images.architectures import go_name


@pytest.mark.parametrize(
    ("machine", "expected"), [("x86_64", "amd64"), ("aarch64", "arm64"), ("s390x", "s390x")]
)
def test_a_machine_goes_by_gos_name(machine: str, expected: str) -> None:
    """
    As the images that nodes pull have it.
    """
    assert expected == go_name(machine)
