"""Kubernetes objects in general: what an object is on the wire, and how another refers to it."""

import sys
from dataclasses import dataclass
from typing import Any

# An object as the API server sends and takes it, in Kubernetes' own spelling.
Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ObjectReference:
    """One object by its kind, name and uid; no later object of that name has the same uid."""

    api_version: str
    kind: str
    name: str
    uid: str

    def owner(self) -> Manifest:
        """The reference as an entry of `metadata.ownerReferences`."""
        return {
            "apiVersion": self.api_version,
            "kind": self.kind,
            "name": self.name,
            "uid": self.uid,
        }


def shared(text: object) -> str:
    """Return a text as the one that others have who say the same: thousands of Pods say much."""
    return sys.intern(str(text))


def metadata_of(manifest: Manifest) -> Manifest:
    """Return an object's metadata; empty if it has none, or something else in its place."""
    metadata = manifest.get("metadata")
    return metadata if isinstance(metadata, dict) else {}
