import dataclasses
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peitho.errors import PeithoError
from peitho.formats.images import oci
from peitho.formats.images.image_record import Image
from peitho.formats.images.oci import DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST

LAYER = f"sha256:{'1a' * 32}"
BASE_LAYER = f"sha256:{'2b' * 32}"
TYPE = "org.hyperledger.fabric.chaincode.type"

IMAGE = Image(
    name="net-peer0-mycc",
    runtime="hyperledger/fabric-baseos:2.5",
    layer=LAYER,
    layer_bytes=2048,
    directory="/usr/local/bin",
    entries=("chaincode",),
    labels={TYPE: "GOLANG", "org.hyperledger.fabric.version": "2.5.16"},
    env={"CORE_CHAINCODE_BUILDLEVEL": "2.5.16"},
    architecture="",
    created="2026-01-01T00:00:00Z",
)
CONFIG: dict[str, Any] = {
    "architecture": "arm64",
    "os": "linux",
    "created": "2025-05-05T05:05:05.123456789Z",
    "config": {
        "User": "chaincode",
        "Env": ["PATH=/bin", "CORE_CHAINCODE_BUILDLEVEL=old"],
        "Labels": {"maintainer": "fabric"},
    },
    "rootfs": {"type": "layers", "diff_ids": [BASE_LAYER]},
    "history": [{"created_by": "/bin/sh"}, {"created_by": "USER", "empty_layer": True}],
}


def dump(document: object) -> bytes:
    """JSON as registries have it: spaced, in any order."""
    return json.dumps(document, indent=3).encode()


def manifest(media_type: str = DOCKER_MANIFEST, **changes: Any) -> bytes:
    """The manifest of the runtime image."""
    config = dump(CONFIG)
    layer = {"mediaType": "application/x.gzip", "digest": BASE_LAYER, "size": 100}
    return dump(
        {
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": {
                "mediaType": "application/x",
                "digest": oci.digest_of(config),
                "size": len(config),
            },
            "layers": [layer],
            **changes,
        }
    )


def index(*platforms: tuple[str, str], media_type: str = OCI_INDEX) -> bytes:
    """An index with an image for each platform; its digest's digits tell which."""
    entries = [
        {
            "mediaType": OCI_MANIFEST,
            "digest": f"sha256:{number:064x}",
            "size": 500,
            "platform": {"os": system, "architecture": architecture},
        }
        for number, (system, architecture) in enumerate(platforms)
    ]
    return dump({"schemaVersion": 2, "mediaType": media_type, "manifests": entries})


def base(
    media_type: str = DOCKER_MANIFEST, config: Any = CONFIG, **changes: Any
) -> oci.RuntimeImage:
    """The runtime image."""
    return oci.read_base(oci.read_manifest("", manifest(media_type, **changes)), dump(config))


@pytest.mark.parametrize(
    ("media_type", "config", "layer"),
    [
        (DOCKER_MANIFEST, oci.DOCKER_CONFIG, oci.DOCKER_LAYER),
        (OCI_MANIFEST, oci.OCI_CONFIG, oci.OCI_LAYER),
    ],
)
def test_a_layer_is_appended_in_the_words_of_the_base(
    media_type: str, config: str, layer: str
) -> None:
    """
    A daemon that takes the runtime image takes the chaincode's.
    """
    appended = oci.append(base(media_type), IMAGE)

    found = json.loads(appended.manifest)
    assert media_type == appended.media_type == found["mediaType"]
    assert {
        "mediaType": config,
        "digest": oci.digest_of(appended.config),
        "size": len(appended.config),
    } == found["config"]
    assert [
        {"mediaType": "application/x.gzip", "digest": BASE_LAYER, "size": 100},
        {"mediaType": layer, "digest": LAYER, "size": 2048},
    ] == found["layers"]
    assert oci.digest_of(appended.manifest) == appended.digest


def test_a_configuration_has_labels_variables_and_the_layer_more() -> None:
    """
    All else stays as the runtime image has it.
    """
    found = json.loads(oci.append(base(), IMAGE).config)

    assert [BASE_LAYER, LAYER] == found["rootfs"]["diff_ids"]
    assert ["PATH=/bin", "CORE_CHAINCODE_BUILDLEVEL=2.5.16"] == found["config"]["Env"]
    assert {"maintainer", *IMAGE.labels, oci.RECORD_LABEL} == set(found["config"]["Labels"])
    assert ("chaincode", "arm64") == (found["config"]["User"], found["architecture"])
    assert CONFIG["created"] == found["created"]
    assert [*CONFIG["history"], {"created_by": "ADD binpackage.tar /usr/local/bin"}] == [
        {key: value for key, value in each.items() if key != "comment"} for each in found["history"]
    ]


@pytest.mark.parametrize("history", [None, [], [{"created_by": "/bin/sh"}] * 2, "none"])
def test_a_history_that_does_not_tell_of_each_layer_is_left(history: Any) -> None:
    """
    With a step more, it would tell of fewer layers than there are: daemons refuse that.
    """
    config = {key: value for key, value in CONFIG.items() if key != "history"}
    if history is not None:
        config["history"] = history

    found = json.loads(oci.append(base(config=config), IMAGE).config)

    assert history == found.get("history")


def test_the_same_package_is_the_same_digest_for_any_peer() -> None:
    """
    Neither the name, which has the peer's in it, nor the time makes a difference.
    """
    other = dataclasses.replace(
        IMAGE,
        name="net-peer1-mycc",
        created="2027-07-07T00:00:00Z",
        labels=dict(reversed([*IMAGE.labels.items()])),
        entries=(),
    )

    assert oci.append(base(), IMAGE) == oci.append(base(), other)
    assert oci.append(base(), IMAGE).digest != oci.append(base(OCI_MANIFEST), IMAGE).digest


def test_what_tells_of_the_runtime_image_alone_is_dropped() -> None:
    """
    Annotations of its build, and what it is about.
    """
    appended = oci.append(base(OCI_MANIFEST, annotations={"a": "b"}, subject={}), IMAGE)

    assert {"schemaVersion", "mediaType", "config", "layers"} == set(json.loads(appended.manifest))


def test_an_image_is_read_back_from_the_registry() -> None:
    """
    As it was published, but for its time, which is the runtime image's.
    """
    appended = oci.append(base(), IMAGE)

    found = oci.read_image(IMAGE.name, oci.read_manifest("", appended.manifest), appended.config)

    assert found is not None
    published = oci.normalized(IMAGE, architecture="arm64")
    assert dataclasses.replace(published, created=CONFIG["created"]) == found
    assert published.id == found.id
    assert found.is_node == IMAGE.is_node


@pytest.mark.parametrize("created", [None, "yesterday", 7])
def test_a_time_that_is_none_is_the_beginning(created: Any) -> None:
    """
    What lists images can count on a time.
    """
    appended = oci.append(base(config=CONFIG | {"created": created}), IMAGE)

    found = oci.read_image("a", oci.read_manifest("", appended.manifest), appended.config)

    assert found is not None
    assert "1970-01-01T00:00:00Z" == found.created


def test_an_image_of_others_is_no_chaincode() -> None:
    """
    It has no record of how it was put together.
    """
    assert oci.read_image("a", oci.read_manifest("", manifest()), dump(CONFIG)) is None


@pytest.mark.parametrize(
    "label", ["", "{}", "[]", '{"runtime": 1}', '{"runtime": "a"}', "[" * 9999]
)
def test_a_damaged_record_is_told(label: str) -> None:
    """
    Not taken for an image that was never there.
    """
    config = CONFIG | {"config": {"Labels": {oci.RECORD_LABEL: label}}}

    with pytest.raises(PeithoError, match=r"the label peitho\.image is damaged"):
        oci.read_image("a", oci.read_manifest("", manifest()), dump(config))


@pytest.mark.parametrize("media_type", [DOCKER_INDEX, OCI_INDEX])
def test_the_image_of_the_builds_architecture_is_chosen(media_type: str) -> None:
    """
    For Linux; attestations and other systems are not looked at.
    """
    content = index(
        ("windows", "arm64"),
        ("linux", "amd64"),
        ("unknown", "unknown"),
        ("linux", "arm64"),
        media_type=media_type,
    )

    chosen = oci.choose("", content, architecture="arm64")

    assert chosen is not None
    assert f"sha256:{3:064x}" == chosen.digest
    with pytest.raises(PeithoError, match="no image for s390x, has: amd64, arm64"):
        oci.choose("", content, architecture="s390x")


def test_an_index_that_says_so_in_its_content_type_alone_is_one() -> None:
    """
    OCI leaves it to the header.
    """
    content = json.loads(index(("linux", "amd64")))
    del content["mediaType"]

    assert oci.choose(f"{OCI_INDEX}; charset=utf-8", dump(content), architecture="amd64")
    assert oci.choose(OCI_MANIFEST, manifest(OCI_MANIFEST), architecture="amd64") is None
    with pytest.raises(PeithoError, match="no image for amd64, has: no image for Linux"):
        oci.choose(OCI_INDEX, index(), architecture="amd64")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b"[]", "not a JSON object, but a list"),
        (b"[" * 100_000, "not JSON"),
        (manifest("application/vnd.docker.distribution.manifest.v1+json"), "not the manifest of"),
        (dump({}), "but 'unknown'"),
        (manifest(config=None), "names no configuration"),
        (manifest(config={"digest": "sha256:0"}), "a descriptor in the manifest is damaged"),
        (
            manifest(config={"mediaType": "x", "digest": BASE_LAYER, "size": True}),
            "a descriptor in the manifest is damaged",
        ),
        (manifest(layers=None), "no list of layers"),
        (manifest(layers=[1]), "no list of layers"),
        (
            manifest(layers=[{"mediaType": "a", "digest": BASE_LAYER, "size": -1}]),
            "a descriptor in the manifest is damaged",
        ),
        (
            manifest(layers=[{"mediaType": "a", "digest": f"sha512:{'0' * 128}", "size": 1}]),
            "a descriptor in the manifest is damaged",
        ),
    ],
)
def test_what_is_no_manifest_is_refused_with_its_reason(content: bytes, message: str) -> None:
    """
    A registry's words are outside input.
    """
    with pytest.raises(PeithoError, match=message):
        oci.read_manifest("", content)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "the configuration's layers are not those of the manifest"),
        ({"rootfs": {"diff_ids": []}}, "the configuration's layers are not those of"),
        (CONFIG | {"rootfs": [1]}, "rootfs is no map, but a list"),
        (CONFIG | {"config": "a"}, "config is no map, but a str"),
        (CONFIG | {"config": {"Env": [1]}}, "labels or variables are damaged"),
        (CONFIG | {"config": {"Labels": {"a": 1}}}, "labels or variables are damaged"),
    ],
)
def test_a_configuration_of_another_image_is_refused(config: Any, message: str) -> None:
    """
    What were appended to it would run nowhere.
    """
    with pytest.raises(PeithoError, match=message):
        base(config=config)


def test_a_bare_configuration_is_enough() -> None:
    """
    Many of its parts may be missing.
    """
    found = base(config={"rootfs": {"diff_ids": [BASE_LAYER]}})

    assert "" == found.architecture
    assert ["CORE_CHAINCODE_BUILDLEVEL=2.5.16"] == json.loads(oci.append(found, IMAGE).config)[
        "config"
    ]["Env"]


def test_a_foreign_layer_is_known_as_one() -> None:
    """
    It lies elsewhere, and is not pushed.
    """
    layer = {"mediaType": "a", "digest": BASE_LAYER, "size": 1, "urls": ["https://x.io"]}

    (found,) = oci.read_manifest("", manifest(layers=[layer])).layers

    assert found.is_foreign


@given(st.binary() | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(dump))
def test_no_content_breaks_the_readers(content: bytes) -> None:
    """
    They give something, or say what is wrong.
    """
    for read in (
        lambda: oci.read_manifest(OCI_MANIFEST, content),
        lambda: oci.choose(OCI_INDEX, content, architecture="amd64"),
        lambda: oci.read_image("a", oci.read_manifest("", manifest()), content),
    ):
        with suppress(PeithoError):
            read()


@pytest.mark.parametrize("text", ["", "sha256:", f"sha256:{'0' * 63}", f"sha256:{'G' * 64}", LAYER])
def test_a_digest_is_known_by_its_form(text: str) -> None:
    """
    The one kind that everybody has.
    """
    assert (text == LAYER) == oci.is_digest(text)
