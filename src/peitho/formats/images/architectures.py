"""Architectures by Go's names, which images use."""

import re

from peitho.errors import InvalidArgument

_GO_NAMES = {"x86_64": "amd64", "aarch64": "arm64"}
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", re.ASCII)


def go_name(machine: str) -> str:
    """Return Go's name of a machine that `uname -m` names; most have the same name."""
    return _GO_NAMES.get(machine, machine)


def checked(name: str) -> str:
    """Return a name that a node's label may have, or an empty text. Raises InvalidArgument."""
    if name and not _NAME.fullmatch(name):
        raise InvalidArgument(f"no name of an architecture: {name[:100]!r}")
    return name
