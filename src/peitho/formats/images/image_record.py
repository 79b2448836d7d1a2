"""
The record of a chaincode image: what the peer's Dockerfile said, and the layer.

An image is never more than a runtime image, one layer, labels and variables (Fabric 1.4 to 3.1).
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from peitho.errors import PeithoError
from peitho.formats.images.origin import NOWHERE, Origin

# Up to this many entries are mounted one by one, so that what the runtime image has beside them
# stays visible; more are mounted as the whole directory (a Pod's spec is not a file listing).
MOUNTED_ONE_BY_ONE = 16

_TYPE = "org.hyperledger.fabric.chaincode.type"
# These have a folder of their own, to which they may write; Go's binary goes to /usr/local/bin.
_WITH_A_FOLDER = ("NODE", "JAVA")


@dataclass(frozen=True, slots=True)
class Image:
    """
    A chaincode image.

    The layer's content belongs at `directory`, where `entries` are its first level; none are
    listed where one is a link, which cannot be mounted. `architecture` is Go's name (`amd64`),
    empty if it is not known. `created` is RFC 3339. `prebuilt` is an image that is run in its
    stead, by digest; mostly empty. `runtime_id` has the digest of the runtime image, if it is
    known. Neither that nor `origin` counts when two images are compared.
    """

    name: str
    runtime: str
    layer: str
    layer_bytes: int
    directory: str
    entries: tuple[str, ...]
    labels: Mapping[str, str]
    env: Mapping[str, str]
    architecture: str
    created: str
    prebuilt: str = ""
    runtime_id: str = field(default="", compare=False)
    origin: Origin = field(default=NOWHERE, compare=False)

    @property
    def node_image(self) -> str:
        """The image that a node has to have."""
        return self.prebuilt or self.runtime

    @property
    def id(self) -> str:
        """The sha256 (`sha256:...`) of what the image is made of; equal images have equal IDs."""
        made_of = _fields(self)
        for each in ("name", "created", "runtime_id", "origin"):
            made_of.pop(each, None)
        digest = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode())
        return f"sha256:{digest.hexdigest()}"

    @property
    def is_node(self) -> bool:
        """Whether npm starts this chaincode."""
        return self.labels.get(_TYPE) == "NODE"


def to_json(image: Image) -> bytes:
    """Return the record as it is kept on disk."""
    return json.dumps(_fields(image), sort_keys=True).encode()


def from_json(record: bytes) -> Image:
    """
    Read a record.

    Raises PeithoError if it is damaged.
    """
    try:
        fields: dict[str, Any] = json.loads(record)
        fields["entries"] = tuple(fields["entries"])
        fields["origin"] = Origin.from_json(fields.get("origin", {}))
        image = Image(**fields)
        _check(image)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PeithoError(f"an image record in the data directory is damaged: {error}") from error
    return image


def _fields(image: Image) -> dict[str, Any]:
    """Return all that an image is; what an earlier version did not know is not there if empty."""
    fields = dataclasses.asdict(image)
    for each in ("prebuilt", "runtime_id"):
        if not fields[each]:
            del fields[each]
    del fields["origin"]
    return fields if image.origin == NOWHERE else fields | {"origin": image.origin.to_json()}


def _check(image: Image) -> None:
    """Raise TypeError or ValueError for a field that is not what it should be."""
    texts = (
        *(image.name, image.runtime, image.layer, image.directory, image.architecture),
        *(image.prebuilt, image.runtime_id),
    )
    pairs = (*image.labels.items(), *image.env.items())
    for text in (*texts, *image.entries, *(text for pair in pairs for text in pair)):
        if not isinstance(text, str):
            raise TypeError(f"{text!r} is no text")
    if type(image.layer_bytes) is not int:
        raise TypeError(f"{image.layer_bytes!r} is no number of bytes")
    datetime.fromisoformat(image.created)


def mounts(image: Image) -> dict[str, str]:
    """
    Return what of the layer is mounted where: mount path to path in the layer.

    The whole directory is mounted where chaincode has one of its own, and where its entries are
    many or have names that a Pod's spec cannot have; nothing else can be mounted at the root.
    """
    directory = f"/{image.directory.strip('/')}".rstrip("/")
    if directory and not _can_be_apart(image):
        return {directory: directory.lstrip("/")}
    places = (f"{directory}/{entry}" for entry in image.entries)
    return {place: place.lstrip("/") for place in places}


def _can_be_apart(image: Image) -> bool:
    return (
        image.labels.get(_TYPE) not in _WITH_A_FOLDER
        and 0 < len(image.entries) <= MOUNTED_ONE_BY_ONE
        # JSON has no bytes that are not UTF-8, and a mount path no colon (core/v1, VolumeMount).
        and all(entry.isprintable() and ":" not in entry for entry in image.entries)
    )
