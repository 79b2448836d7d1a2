"""
What is kept beside an image in a registry: manifests that name it as their `subject`.

Registries of OCI 1.1 list them; where one does not, they are listed in an index below a tag that is
made of the image's digest (distribution-spec, "Backwards Compatibility").
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from peitho.formats.images import oci
from peitho.formats.images.oci import Descriptor

EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
EMPTY = b"{}"
_MOST = 1000

_Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Referrer:
    """An entry of the list; `artifact_type` is what it is."""

    descriptor: Descriptor
    artifact_type: str
    annotations: Mapping[str, str] = field(default_factory=dict)


def tag(digest: str) -> str:
    """Return the tag of the index where a registry lists none itself."""
    return digest.replace(":", "-")


def manifest(
    subject: Descriptor, layer: Descriptor, *, artifact_type: str, annotations: Mapping[str, str]
) -> bytes:
    """Return the manifest of one blob that belongs to a subject."""
    config = Descriptor(EMPTY_TYPE, oci.digest_of(EMPTY), len(EMPTY))
    return _dump(
        {
            "schemaVersion": 2,
            "mediaType": oci.OCI_MANIFEST,
            "artifactType": artifact_type,
            "config": _described(config),
            "layers": [_described(layer)],
            "subject": _described(subject),
            "annotations": dict(annotations),
        }
    )


def read(index: bytes) -> list[Referrer]:
    """Return what an index lists; what is damaged is left out, and so are the last of very many."""
    try:
        entries = json.loads(index)["manifests"]
        found = [_referrer(each) for each in entries[:_MOST]]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []
    return [each for each in found if each]


def joined(pages: Sequence[bytes]) -> bytes:
    """Return the index that a registry lists in pages."""
    if len(pages) == 1:
        return pages[0]
    entries = [each for page in pages for each in _entries(page, "manifests")]
    return _dump({"schemaVersion": 2, "mediaType": oci.OCI_INDEX, "manifests": entries})


def index(listed: bytes | None, added: Sequence[tuple[bytes, str]]) -> bytes:
    """Return the index with manifests more, each with its artifact type."""
    entries = _entries(listed, "manifests")
    for content, artifact_type in added:
        digest = oci.digest_of(content)
        entries = [each for each in entries if each.get("digest") != digest]
        annotations = json.loads(content).get("annotations")
        entry = _described(Descriptor(oci.OCI_MANIFEST, digest, len(content)))
        entries.append(entry | {"artifactType": artifact_type, "annotations": annotations})
    return _dump({"schemaVersion": 2, "mediaType": oci.OCI_INDEX, "manifests": entries})


def index_without(listed: bytes, digests: Sequence[str]) -> bytes | None:
    """Return an index without some manifests; None if that leaves none."""
    entries = _others(listed, "manifests", digests)
    if not entries:
        return None
    return _dump({"schemaVersion": 2, "mediaType": oci.OCI_INDEX, "manifests": entries})


def layers(manifest_body: bytes) -> list[Descriptor]:
    """Return the blobs of a manifest; none if it is damaged."""
    try:
        entries = json.loads(manifest_body)["layers"][:_MOST]
        found = [_referrer(each) for each in entries]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []
    return [each.descriptor for each in found if each]


def attestations(listed: bytes | None, added: Sequence[tuple[Descriptor, _Json]]) -> bytes:
    """
    Return the manifest of attestations in cosign's former format, with some more.

    Below the tag `sha256-HEX.att` there is a layer for each (sigstore/cosign, ATTESTATION_SPEC).
    """
    entries = _entries(listed, "layers")
    known = {each.get("digest") for each in entries}
    entries += [
        _described(descriptor) | {"annotations": annotations}
        for descriptor, annotations in added
        if descriptor.digest not in known
    ]
    return _attestations(entries)


def attestations_without(listed: bytes, digests: Sequence[str]) -> bytes | None:
    """Return the manifest of attestations without some layers; None if that leaves none."""
    entries = _others(listed, "layers", digests)
    return _attestations(entries) if entries else None


def _attestations(entries: list[_Json]) -> bytes:
    config = attestation_config([str(each.get("digest")) for each in entries])
    return _dump(
        {
            "schemaVersion": 2,
            "mediaType": oci.OCI_MANIFEST,
            "config": _described(Descriptor(oci.OCI_CONFIG, oci.digest_of(config), len(config))),
            "layers": entries,
        }
    )


def attestation_config(digests: Sequence[str]) -> bytes:
    """Return the configuration of a manifest of attestations: it is an image to those who ask."""
    return _dump(
        {
            "architecture": "",
            "os": "",
            "config": {},
            "created": "0001-01-01T00:00:00Z",
            "history": [{"created": "0001-01-01T00:00:00Z"} for _ in digests],
            "rootfs": {"type": "layers", "diff_ids": list(digests)},
        }
    )


def _others(listed: bytes, key: str, digests: Sequence[str]) -> list[_Json]:
    return [each for each in _entries(listed, key) if each.get("digest") not in digests]


def _entries(listed: bytes | None, key: str) -> list[_Json]:
    """What is listed already; a damaged list is made anew."""
    try:
        return [each for each in json.loads(listed or b"{}")[key] if isinstance(each, dict)]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []


def _referrer(entry: object) -> Referrer | None:
    if not isinstance(entry, dict):
        return None
    digest, size = entry.get("digest"), entry.get("size")
    if not (isinstance(digest, str) and oci.is_digest(digest)) or type(size) is not int:
        return None
    told = entry.get("annotations")
    annotations = told if isinstance(told, dict) else {}
    return Referrer(
        Descriptor(str(entry.get("mediaType", "")), digest, size),
        str(entry.get("artifactType", "")),
        {str(key): str(value) for key, value in annotations.items()},
    )


def _described(descriptor: Descriptor) -> _Json:
    return {
        "mediaType": descriptor.media_type,
        "digest": descriptor.digest,
        "size": descriptor.size,
    }


def _dump(document: _Json) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
