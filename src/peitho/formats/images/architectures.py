"""Architectures by Go's names, which images use."""

_GO_NAMES = {"x86_64": "amd64", "aarch64": "arm64"}


def go_name(machine: str) -> str:
    """Return Go's name of a machine that `uname -m` names; most have the same name."""
    return _GO_NAMES.get(machine, machine)
