import dataclasses
from typing import Any

import pytest

from peitho.errors import InvalidArgument
from peitho.formats.kubernetes import spec_check
from peitho.formats.records import ContainerSpec, HostConfig

SPEC = ContainerSpec(
    image="mycc", command=("chaincode", "-a"), entrypoint=(), env=("A=1", "B=", "C")
)


def test_what_peers_ask_for_is_taken() -> None:
    """
    Also a variable without a value, and 2 GiB of memory.
    """
    spec_check.check(dataclasses.replace(SPEC, host=HostConfig(memory_bytes=2 * 1024**3)))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"command": ("a", "b\0c")}, "Cmd.1: a NUL"),
        ({"entrypoint": ("\0",)}, "Entrypoint.0: a NUL"),
        ({"env": ("A=\0",)}, "Env.0: a NUL"),
        ({"working_directory": "/\0"}, "WorkingDir: a NUL"),
        ({"image": "a\0"}, "Image: a NUL"),
        ({"env": ("A=1", "=2")}, "Env.1: '' is no name"),
        ({"env": ("",)}, "Env.0: '' is no name"),
        ({"env": ("A\n=1",)}, "Env.0: 'A.n' is no name"),
        ({"env": ("\u00e4=1",)}, "Env.0: '\u00e4' is no name"),
        ({"env": (f"A={'x' * 600_000}",)}, "have 60.... bytes in all"),
        ({"command": ("\u00e4" * 100_000,)}, "have 60.... bytes in all"),
        ({"command": ("\x01" * 100_000,)}, "have 60.... bytes in all"),
        ({"env": tuple(f"A{number}=" for number in range(3000))}, "have 6[0-9]+ bytes in all"),
        ({"host": HostConfig(memory_bytes=1)}, "HostConfig.Memory: Minimum memory limit"),
    ],
)
def test_what_kubernetes_would_refuse_is_told_with_its_field(
    more: dict[str, Any], message: str
) -> None:
    """
    At create, where the peer's operator can see what it was.
    """
    with pytest.raises(InvalidArgument, match=message):
        spec_check.check(dataclasses.replace(SPEC, **more))
