"""
The provenance of a chaincode image: an in-toto statement, in the words of SLSA 1.0.

https://slsa.dev/spec/v1.0/provenance has what each field means; docs/reference/provenance.md has
what Peitho says in it.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from peitho.errors import InvalidArgument
from peitho.formats.images import origin as origins
from peitho.formats.images import references
from peitho.formats.images.image_record import Image
from peitho.formats.images.origin import NOWHERE

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:peitho:chaincode-build:v1"

_Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Subject:
    """What a statement is about: a name, and the digest (`sha256:...`) that it has."""

    name: str
    digest: str


@dataclass(frozen=True, slots=True)
class Told:
    """What a statement tells of an image's build: digests as nodes say them; may be empty."""

    builder: str = ""
    builder_id: str = ""
    runtime_id: str = ""


def statement(image: Image, subjects: Sequence[Subject], *, builder_id: str) -> bytes:
    """Return the statement about an image; `builder_id` is the URI of the Peitho that made it."""
    origin = image.origin
    document = {
        "_type": STATEMENT,
        "subject": [{"name": each.name, "digest": _digest(each.digest)} for each in subjects],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": _asked(image),
                "internalParameters": {"architecture": image.architecture},
                "resolvedDependencies": list(_dependencies(image)),
            },
            "runDetails": {
                "builder": {"id": builder_id, "version": _known({"peitho": origin.version})},
                "metadata": _known(
                    {
                        "invocationId": origin.build_id,
                        "startedOn": origin.started_at,
                        "finishedOn": origin.finished_at,
                    }
                ),
                "byproducts": [
                    {
                        "name": "layer",
                        "digest": _digest(image.layer),
                        "annotations": {"bytes": image.layer_bytes, "directory": image.directory},
                    }
                ],
            },
        },
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def is_about(content: bytes, digest: str) -> bool:
    """Whether a statement, whoever made it, names an image by its digest."""
    try:
        subjects = json.loads(content)["subject"]
        return digest.removeprefix("sha256:") in [each["digest"].get("sha256") for each in subjects]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def is_own(content: bytes) -> bool:
    """Whether a statement is one of Peitho's, of whichever."""
    try:
        definition = json.loads(content)["predicate"]["buildDefinition"]
        return bool(definition["buildType"] == BUILD_TYPE)
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def read(content: bytes) -> Told:
    """Return what a statement of Peitho tells of a build; nothing for one of others."""
    try:
        document = json.loads(content)
        definition = document["predicate"]["buildDefinition"]
        if definition["buildType"] != BUILD_TYPE:
            return Told()
        found = {each["name"]: each for each in definition["resolvedDependencies"]}
        return Told(
            str(definition["externalParameters"].get("builder", "")),
            _id(found.get("builder", {})),
            _id(found.get("runtime", {})),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Told()


def _asked(image: Image) -> _Json:
    """What the peer asked for: at its build, and with its Dockerfile."""
    origin = image.origin
    return {"image": image.name, "runtime": image.runtime, "labels": dict(image.labels)} | _known(
        {
            "builder": origin.builder,
            "command": list(origin.command),
            # Names alone: a value may be a secret.
            "variables": list(origin.variables),
            "prebuilt": image.prebuilt,
        }
    )


def _dependencies(image: Image) -> Iterator[_Json]:
    origin = image.origin
    for source in origin.sources:
        yield {
            "name": "source",
            "digest": {"sha256": source.sha256},
            "annotations": {"path": source.path, "tree": source.tree},
        }
        for path, sha256 in source.locks.items():
            yield {"name": f"{source.path}/{path}", "digest": {"sha256": sha256}}
    if origin != NOWHERE:
        yield _image("builder", origin.builder, origin.builder_id)
    if image.prebuilt:
        yield _image("image", image.prebuilt, image.prebuilt)
    else:
        yield _image("runtime", image.runtime, image.runtime_id)


def _image(name: str, reference: str, image_id: str) -> _Json:
    dependency: _Json = {"name": name, "uri": f"oci://{_full(reference)}"}
    if found := origins.digest(image_id):
        dependency |= {"digest": _digest(found), "annotations": {"id": image_id}}
    return dependency


def _full(reference: str) -> str:
    try:
        return references.parse(reference).full()
    except InvalidArgument:
        return reference


def _id(dependency: _Json) -> str:
    return str(dependency.get("annotations", {}).get("id", ""))


def _digest(digest: str) -> _Json:
    algorithm, _, digits = digest.partition(":")
    return {algorithm: digits}


def _known(fields: _Json) -> _Json:
    """What of these is known."""
    return {key: value for key, value in fields.items() if value}
