"""Paths that a peer uploads to, and that a Pod can have as a volume or a file of one."""

import re
from collections.abc import Collection
from pathlib import PurePosixPath

from peitho.errors import InvalidArgument
from peitho.formats.kubernetes.build_wrapper import CONTROL

# The kernel's, the kubelet's and Peitho's own: nothing may lie at them or below.
_TAKEN = ("/proc", "/sys", "/dev", "/run/secrets", "/var/run/secrets", CONTROL)
# Linux' own bounds, of which a kubelet would tell when the Pod starts.
_PATH_BYTES = 4095
_NAME_BYTES = 255
# Docker adds to these directories of the image; a volume would hide what they hold.
_HELD_BY_IMAGES = re.compile(
    r"/(bin|boot|etc|home|lib|lib64|opt|root|run|sbin|usr|var)?|/usr/(local/)?(bin|lib|sbin)"
    r"|/usr/local|/var/(lib|run)"
)


def of_directory(path: str) -> str:
    """Return a directory that a volume can be mounted at, normalized. Raises InvalidArgument."""
    normalized = of_file(path)
    if _HELD_BY_IMAGES.fullmatch(normalized):
        raise InvalidArgument(
            f"the path {path!r} cannot be uploaded to: in a Pod, a volume would hide what the "
            "image has there"
        )
    return normalized


def of_file(path: str) -> str:
    """Return a path that a file of a volume can have, normalized. Raises InvalidArgument."""
    parts = path.split("/")
    if not path.startswith("/") or ".." in parts or "\0" in path:
        raise InvalidArgument(f"the path {path!r} must be absolute, without `..`")
    try:
        longest = max(len(part.encode()) for part in parts)
        length = len(path.encode())
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"the path {path[:80]!r} is not in UTF-8") from error
    if longest > _NAME_BYTES or length > _PATH_BYTES:
        raise InvalidArgument(f"the path {path[:80]!r}... is longer than Linux takes")
    normalized = "/" + "/".join(part for part in parts if part not in ("", "."))
    if any(f"{normalized}/".startswith(f"{taken}/") for taken in _TAKEN):
        raise InvalidArgument(
            f"the path {path!r} cannot be uploaded to: in a Pod it belongs to Kubernetes or Peitho"
        )
    return normalized


def check_apart(files: Collection[str]) -> None:
    """Raise InvalidArgument if one path is to be a file, and a directory for another."""
    known = set(files)
    for path in known:
        for above in map(str, PurePosixPath(path).parents):
            if above in known:
                raise InvalidArgument(f"the path {path!r} lies below the file {above!r}")
