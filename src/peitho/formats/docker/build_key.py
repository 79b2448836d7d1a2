"""What makes two builds equal: builder image, command, variables, and the uploaded files."""

import hashlib
import json
from collections.abc import Sequence

from peitho.formats.records import ContainerSpec
from peitho.formats.tar import TarEntry


def tree(entries: Sequence[TarEntry]) -> str:
    """
    The sha256 of an archive's files by path, mode and content; times and owners do not count.

    Nor does their order, unless a path is there twice: then the later one wins when unpacked.
    """
    lines = [[entry.name, entry.kind, entry.mode, entry.link, entry.sha256] for entry in entries]
    if len({entry.name for entry in entries}) == len(entries):
        lines.sort()
    return _sha256(lines)


def build_key(
    spec: ContainerSpec, uploads: Sequence[tuple[str, str]], *, decided: object = None
) -> str:
    """
    The sha256 of all that a build's outcome depends on; `uploads` are directories and their trees.

    `decided` is what the operator changes about builds: other images, and a template.
    The builder image counts by its name: what a moved tag means to the cache is told in the docs.
    """
    return _sha256(
        {
            "image": spec.image,
            "command": spec.command,
            "entrypoint": spec.entrypoint,
            "env": spec.env,
            "directory": spec.working_directory,
            "uploads": list(uploads),
            "decided": decided,
        }
    )


def _sha256(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
