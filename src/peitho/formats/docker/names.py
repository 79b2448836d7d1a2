"""The names that Docker allows for containers."""

import re

from peitho.errors import InvalidArgument

_CONTAINER_NAME = re.compile(r"/?[a-zA-Z0-9][a-zA-Z0-9_.-]+")


def valid_container_name(name: str) -> str:
    """
    Return a container's name without Docker's leading slash.

    Raises InvalidArgument with dockerd's own message.
    """
    if not _CONTAINER_NAME.fullmatch(name):
        raise InvalidArgument(
            f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        )
    return name.removeprefix("/")
