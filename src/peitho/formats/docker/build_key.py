"""The key of a build: equal builds have equal keys, and are carried out once."""

import hashlib
import json
from collections.abc import Sequence

from peitho.formats.records import ContainerSpec
from peitho.formats.tar import TarEntry

# What newer peers ask a builder image for before they build with it.
_PROBE = ["go", "version"]


def tree(entries: Sequence[TarEntry]) -> str:
    """
    Return the sha256 of an archive's files, by path, mode and content.

    Times and owners do not count. Nor does the order, unless a path is there twice: then the later
    entry wins when the archive is unpacked.
    """
    if len({entry.name for entry in entries}) == len(entries):
        entries = sorted(entries, key=lambda entry: entry.name)
    digest = hashlib.sha256()
    separator = b"["
    for entry in entries:
        line = [entry.name, entry.kind, entry.mode, entry.link, entry.sha256]
        digest.update(separator + json.dumps(line).encode())
        separator = b", "
    digest.update(b"]" if entries else b"[]")
    return digest.hexdigest()


def is_repeatable(spec: ContainerSpec, uploads: Sequence[tuple[str, str]]) -> bool:
    """
    Return whether equal ones have equal outcomes, as a peer's builds and its probe have.

    What else is run, as by `docker run --rm`, may depend on the time or on whatever it can reach.
    """
    return bool(uploads) or list(spec.command) == _PROBE


def build_key(
    spec: ContainerSpec, uploads: Sequence[tuple[str, str]], *, decided: object = None
) -> str:
    """
    Return the sha256 of all that a build's outcome depends on.

    `uploads` are directories and the digests of their files; `decided` are settings that change
    builds. The builder image counts by its name: the docs tell what a moved tag means.
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
