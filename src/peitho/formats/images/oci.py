"""
Manifests and configurations of images, Docker's (schema 2) and OCI's; what a registry holds.

A chaincode image is a runtime image's manifest and configuration with one layer, labels and
variables more.  What is appended has no time and no owner, and JSON is written sorted: the same
package on the same runtime image is the same digest, whoever puts it together.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from peitho.errors import PeithoError
from peitho.formats.images.image_record import Image

Json = dict[str, Any]

DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"

# All manifests that we can read, for `Accept`.
MANIFESTS = (DOCKER_MANIFEST, OCI_MANIFEST, DOCKER_INDEX, OCI_INDEX)
_INDEXES = (DOCKER_INDEX, OCI_INDEX)
# This label tells what a chaincode image is made of, to whoever reads it from the registry.
RECORD_LABEL = "peitho.image"
_NO_TIME = "1970-01-01T00:00:00Z"
_HEXADECIMAL = frozenset("0123456789abcdef")
_DIGEST_CHARACTERS = len("sha256:") + 64


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A manifest's description of a blob or another manifest; foreign layers are elsewhere."""

    media_type: str
    digest: str
    size: int
    is_foreign: bool = False


@dataclass(frozen=True, slots=True)
class ImageManifest:
    """The manifest of one image in a registry, and the descriptors in it."""

    media_type: str
    content: Json
    config: Descriptor
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True)
class RuntimeImage:
    """A runtime image: its manifest and its configuration."""

    manifest: ImageManifest
    config: Json

    @property
    def architecture(self) -> str:
        """Go's name of the image's architecture."""
        return str(self.config.get("architecture", ""))


@dataclass(frozen=True, slots=True)
class ChaincodeManifest:
    """Manifest and configuration of a chaincode image, ready to be pushed."""

    media_type: str
    manifest: bytes
    config: bytes

    @property
    def digest(self) -> str:
        """The digest by which a Pod names the image."""
        return digest_of(self.manifest)

    @property
    def descriptor(self) -> Descriptor:
        """How what belongs to the image names it."""
        return Descriptor(self.media_type, self.digest, len(self.manifest))


def digest_of(content: bytes) -> str:
    """Return the digest of a content."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def is_digest(text: str) -> bool:
    """Whether a text is a sha256 digest."""
    algorithm, _, digits = text.partition(":")
    return algorithm == "sha256" and len(text) == _DIGEST_CHARACTERS and set(digits) <= _HEXADECIMAL


def choose(media_type: str, content: bytes, *, architecture: str) -> Descriptor | None:
    """
    Return an index's manifest for Linux on an architecture; None if this is no index.

    Raises PeithoError if the index has none, and names those that it has.
    """
    document = _document(content)
    if _kind(media_type, document) not in _INDEXES:
        return None
    by_architecture: dict[str, Descriptor] = {}
    for entry in _list(document, "manifests"):
        platform = entry.get("platform") or {}
        # Attestations of a build are listed as images of the platform unknown/unknown.
        if not isinstance(platform, dict) or platform.get("os") != "linux":
            continue
        by_architecture.setdefault(str(platform.get("architecture")), _descriptor(entry))
    if architecture not in by_architecture:
        has = ", ".join(sorted(by_architecture)) or "no image for Linux"
        raise PeithoError(f"no image for {architecture}, has: {has}")
    return by_architecture[architecture]


def read_manifest(media_type: str, content: bytes) -> ImageManifest:
    """
    Read the manifest of one image.

    Raises PeithoError for anything else, such as Docker's schema 1.
    """
    document = _document(content)
    kind = _kind(media_type, document)
    if kind not in (DOCKER_MANIFEST, OCI_MANIFEST):
        raise PeithoError(f"not the manifest of an image, but {kind[:100] or 'unknown'!r}")
    config = document.get("config")
    if not isinstance(config, dict):
        raise PeithoError("the manifest names no configuration")
    return ImageManifest(
        media_type=kind,
        content=document,
        config=_descriptor(config),
        layers=tuple(_descriptor(layer) for layer in _list(document, "layers")),
    )


def read_base(manifest: ImageManifest, config: bytes) -> RuntimeImage:
    """
    Put a runtime image together from its parts.

    Raises PeithoError if they do not belong together.
    """
    document = _document(config)
    diff_ids = _map(document, "rootfs").get("diff_ids")
    labels, env = _map(_map(document, "config"), "Labels"), _map(document, "config").get("Env")
    if not (_is_texts(list(labels.values())) and _is_texts(env or [])):
        raise PeithoError("the configuration's labels or variables are damaged")
    if not isinstance(diff_ids, list) or len(diff_ids) != len(manifest.layers):
        raise PeithoError("the configuration's layers are not those of the manifest")
    return RuntimeImage(manifest, document)


def append(base: RuntimeImage, image: Image) -> ChaincodeManifest:
    """Append a chaincode image's layer to a runtime image; media types are the runtime image's."""
    config = _dump(_config(base.config, image))
    is_docker = base.manifest.media_type == DOCKER_MANIFEST
    manifest = base.manifest.content | {
        "mediaType": base.manifest.media_type,
        "config": {
            "mediaType": DOCKER_CONFIG if is_docker else OCI_CONFIG,
            "digest": digest_of(config),
            "size": len(config),
        },
        "layers": [
            *base.manifest.content["layers"],
            {
                "mediaType": DOCKER_LAYER if is_docker else OCI_LAYER,
                "digest": image.layer,
                "size": image.layer_bytes,
            },
        ],
    }
    # These are about the runtime image alone.
    manifest.pop("annotations", None)
    manifest.pop("subject", None)
    return ChaincodeManifest(base.manifest.media_type, _dump(manifest), config)


def normalized(image: Image, *, architecture: str) -> Image:
    """Return the image as it will be read back: whole by itself, with nothing to mount."""
    return Image(
        name=image.name,
        runtime=image.runtime,
        layer=image.layer,
        layer_bytes=image.layer_bytes,
        directory=image.directory,
        entries=(),
        labels=image.labels,
        env=image.env,
        architecture=architecture,
        created=image.created,
        prebuilt=image.prebuilt,
    )


def read_image(name: str, manifest: ImageManifest, config: bytes) -> Image | None:
    """
    Read a chaincode image; None if Peitho has not made it.

    Raises PeithoError if it is damaged.
    """
    document = _document(config)
    label = _map(_map(document, "config"), "Labels").get(RECORD_LABEL)
    if label is None or not manifest.layers:
        return None
    try:
        record = json.loads(label)
        return Image(
            name=name,
            runtime=_text(record["runtime"]),
            layer=manifest.layers[-1].digest,
            layer_bytes=manifest.layers[-1].size,
            directory=_text(record["directory"]),
            entries=(),
            labels=_texts(record["labels"]),
            env=_texts(record["env"]),
            architecture=str(document.get("architecture", "")),
            created=_time(document.get("created")),
            prebuilt=_text(record.get("prebuilt", "")),
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise PeithoError(f"the label {RECORD_LABEL} is damaged: {error!r}"[:300]) from error


def _config(base: Json, image: Image) -> Json:
    settings = dict(base.get("config") or {})
    record = {
        "directory": image.directory,
        "env": dict(image.env),
        "labels": dict(image.labels),
        "runtime": image.runtime,
    } | ({"prebuilt": image.prebuilt} if image.prebuilt else {})
    own = {RECORD_LABEL: _dump(record).decode()}
    settings["Labels"] = dict(settings.get("Labels") or {}) | dict(image.labels) | own
    settings["Env"] = _env(settings.get("Env") or [], image.env)
    rootfs = _map(base, "rootfs")
    config = base | {
        "config": settings,
        "rootfs": rootfs | {"diff_ids": [*rootfs["diff_ids"], image.layer]},
    }
    history = base.get("history")
    # A history that tells of fewer layers than there are is refused by some daemons.
    if isinstance(history, list) and _layers_told(history) == len(rootfs["diff_ids"]):
        step = {"created_by": f"ADD binpackage.tar {image.directory}", "comment": "peitho"}
        config["history"] = [*history, step]
    return config


def _env(base: Sequence[str], added: Mapping[str, str]) -> list[str]:
    kept = [variable for variable in base if variable.partition("=")[0] not in added]
    return [*kept, *(f"{key}={value}" for key, value in sorted(added.items()))]


def _layers_told(history: list[Any]) -> int:
    return sum(isinstance(step, dict) and not step.get("empty_layer") for step in history)


def _kind(media_type: str, document: Json) -> str:
    """Return the media type; OCI may leave it to the `Content-Type`."""
    return str(document.get("mediaType") or media_type.partition(";")[0].strip())


def _descriptor(entry: Json) -> Descriptor:
    media_type, digest, size = entry.get("mediaType"), entry.get("digest"), entry.get("size")
    valid = (
        isinstance(media_type, str)
        and isinstance(digest, str)
        and is_digest(digest)
        and isinstance(size, int)
        and not isinstance(size, bool)
        and size >= 0
    )
    if not valid:
        raise PeithoError(f"a descriptor in the manifest is damaged: {str(entry)[:200]}")
    return Descriptor(str(media_type), str(digest), int(str(size)), bool(entry.get("urls")))


def _list(document: Json, key: str) -> list[Json]:
    entries = document.get(key)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise PeithoError(f"the manifest has no list of {key}")
    return entries


def _map(document: Json, key: str) -> Json:
    mapping = document.get(key) or {}
    if not isinstance(mapping, dict):
        raise PeithoError(f"{key} is no map, but a {type(mapping).__name__}")
    return mapping


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _document(content: bytes) -> Json:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise PeithoError(f"not JSON: {error}"[:200]) from error
    if not isinstance(document, dict):
        raise PeithoError(f"not a JSON object, but a {type(document).__name__}")
    return document


def _dump(document: Json) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"must be a text, is a {type(value).__name__}")
    return value


def _texts(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise TypeError(f"must be a map, is a {type(value).__name__}")
    return {_text(key): _text(text) for key, text in value.items()}


def _time(value: object) -> str:
    try:
        datetime.fromisoformat(str(value))
    except ValueError:
        return _NO_TIME
    return str(value)
