import json
from dataclasses import replace

import pytest

from peitho.formats.images import provenance
from peitho.formats.images.image_record import Image
from peitho.formats.images.origin import NOWHERE, Origin, Source
from peitho.formats.images.provenance import Subject, Told

BUILDER = "docker.io/hyperledger/fabric-ccenv@sha256:" + "cc" * 32
RUNTIME = "docker.io/hyperledger/fabric-baseos@sha256:" + "dd" * 32
ORIGIN = Origin(
    build_id="b1",
    builder="hyperledger/fabric-ccenv:2.5",
    builder_id=BUILDER,
    command=("/bin/sh", "-c", "go build"),
    variables=("GOPROXY",),
    sources=(Source("/chaincode/input", "aa" * 32, "bb" * 32, {"src/go.sum": "ee" * 32}),),
    started_at="2026-01-02T03:04:05Z",
    finished_at="2026-01-02T03:05:05Z",
    version="1.2",
)
IMAGE = Image(
    name="mycc",
    runtime="hyperledger/fabric-baseos:2.5",
    layer="sha256:" + "ab" * 32,
    layer_bytes=10,
    directory="/usr/local/bin",
    entries=(),
    labels={},
    env={},
    architecture="amd64",
    created="2026-01-02T03:05:06Z",
    runtime_id=RUNTIME,
    origin=ORIGIN,
)


def statement(image: Image) -> bytes:
    """What is said of an image."""
    return provenance.statement(image, [Subject("mycc", image.layer)], builder_id="urn:peitho:a")


def test_a_statement_is_of_slsa() -> None:
    """
    Who built it, of what, in which images, and what came of it.
    """
    said = json.loads(statement(IMAGE))

    assert "https://in-toto.io/Statement/v1" == said["_type"]
    assert "https://slsa.dev/provenance/v1" == said["predicateType"]
    assert [{"name": "mycc", "digest": {"sha256": "ab" * 32}}] == said["subject"]
    definition, details = said["predicate"]["buildDefinition"], said["predicate"]["runDetails"]
    found = {each["name"]: each["digest"]["sha256"] for each in definition["resolvedDependencies"]}
    assert {
        "source": "aa" * 32,
        "/chaincode/input/src/go.sum": "ee" * 32,
        "builder": "cc" * 32,
        "runtime": "dd" * 32,
    } == found
    asked = definition["externalParameters"]
    assert ("mycc", ["/bin/sh", "-c", "go build"]) == (asked["image"], asked["command"])
    assert {"id": "urn:peitho:a", "version": {"peitho": "1.2"}} == details["builder"]
    assert {
        "invocationId": "b1",
        "startedOn": "2026-01-02T03:04:05Z",
        "finishedOn": "2026-01-02T03:05:05Z",
    } == details["metadata"]


def test_what_is_not_known_is_not_said() -> None:
    """
    Of an image that another Peitho built, the runtime image is named.
    """
    said = json.loads(statement(replace(IMAGE, origin=NOWHERE, runtime_id="")))

    dependencies = said["predicate"]["buildDefinition"]["resolvedDependencies"]
    uri = "oci://docker.io/hyperledger/fabric-baseos:2.5"
    assert [{"name": "runtime", "uri": uri}] == dependencies
    assert {} == said["predicate"]["runDetails"]["metadata"]


def test_a_prebuilt_image_is_what_it_is_made_of() -> None:
    """
    By its digest.
    """
    prebuilt = f"registry.example/asset@sha256:{'ff' * 32}"
    said = json.loads(statement(replace(IMAGE, origin=NOWHERE, prebuilt=prebuilt)))

    (found,) = said["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert ("image", {"sha256": "ff" * 32}) == (found["name"], found["digest"])


def test_what_was_said_is_read_again() -> None:
    """
    For whoever launches an image that another has built.
    """
    assert Told(ORIGIN.builder, BUILDER, RUNTIME) == provenance.read(statement(IMAGE))


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"predicate": []}', b"[" * 10_000])
def test_what_others_say_tells_nothing(content: bytes) -> None:
    """
    Nor does what is no statement.
    """
    assert Told() == provenance.read(content)
