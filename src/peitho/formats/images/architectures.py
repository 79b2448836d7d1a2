"""Architectures, by the names that images give them: Go's."""

_GO_NAMES = {"x86_64": "amd64", "aarch64": "arm64"}


def go_name(machine: str) -> str:
    """Go's name of a machine as `uname -m` says it; the same for most."""
    return _GO_NAMES.get(machine, machine)
