import dataclasses
import json
import re
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peitho.errors import PeithoError
from peitho.formats.images import image_record
from peitho.formats.images.image_record import MOUNTED_ONE_BY_ONE, Image

IMAGE = Image(
    name="net-peer0-mycc",
    runtime="hyperledger/fabric-baseos:2.5",
    layer="sha256:" + "ab" * 32,
    layer_bytes=10240,
    directory="/usr/local/bin",
    entries=("chaincode",),
    labels={"org.hyperledger.fabric.chaincode.type": "GOLANG"},
    env={"CORE_CHAINCODE_BUILDLEVEL": "2.5.16"},
    architecture="amd64",
    created="2026-01-02T03:04:05.678901Z",
)


@given(
    st.builds(
        Image,
        labels=st.dictionaries(st.text(), st.text(), max_size=3),
        env=st.dictionaries(st.text(), st.text(), max_size=3),
        entries=st.lists(st.text(), max_size=3).map(tuple),
        created=st.datetimes().map(datetime.isoformat),
    )
)
def test_a_record_is_read_as_it_was_written(image: Image) -> None:
    """
    What is kept on disk is the whole image.
    """
    assert image == image_record.from_json(image_record.to_json(image))


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"{}",
        b"\xff",
        b'{"entries": []}',
        json.dumps(dataclasses.asdict(IMAGE) | {"more": 1}).encode(),
        *(
            json.dumps(dataclasses.asdict(IMAGE) | {field: value}).encode()
            for field, value in (
                ("entries", None),
                ("entries", [1]),
                ("labels", []),
                ("env", {"a": 1}),
                ("layer", 1),
                ("layer_bytes", "1"),
                ("created", "yesterday"),
            )
        ),
    ],
)
def test_a_damaged_record_is_told_as_such(record: bytes) -> None:
    """
    A record that is none is an error with its place, not a crash.
    """
    with pytest.raises(PeithoError, match="an image record in the data directory is damaged"):
        image_record.from_json(record)


def test_equal_images_have_equal_ids_whatever_name_and_time() -> None:
    """
    The ID is of what the image is made of.
    """
    other = dataclasses.replace(IMAGE, name="other", created="2027-01-01T00:00:00Z")

    assert re.fullmatch("sha256:[0-9a-f]{64}", IMAGE.id)
    assert IMAGE.id == other.id


@pytest.mark.parametrize(
    "change",
    [
        {"runtime": "x"},
        {"layer": "x"},
        {"directory": "/x"},
        {"env": {}},
        {"labels": {}},
        {"architecture": "arm64"},
    ],
    ids=str,
)
def test_different_images_have_different_ids(change: dict[str, object]) -> None:
    """
    Every part of an image is in its ID.
    """
    assert IMAGE.id != dataclasses.replace(IMAGE, **change).id  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"org.hyperledger.fabric.chaincode.type": "NODE"}, True),
        ({"org.hyperledger.fabric.chaincode.type": "GOLANG"}, False),
        ({}, False),
    ],
)
def test_node_chaincode_is_known_by_its_label(labels: dict[str, str], *, expected: bool) -> None:
    """
    The label that the peer gives tells the platform.
    """
    assert expected == dataclasses.replace(IMAGE, labels=labels).is_node


def test_few_entries_are_mounted_one_by_one() -> None:
    """
    What the runtime image has beside the chaincode stays visible.
    """
    image = dataclasses.replace(IMAGE, entries=("a", "b"), directory="/usr/local/src/")

    assert {
        "/usr/local/src/a": "usr/local/src/a",
        "/usr/local/src/b": "usr/local/src/b",
    } == image_record.mounts(image)


def test_many_entries_are_mounted_as_their_directory() -> None:
    """
    A Pod's spec does not list the files of a package.
    """
    entries = tuple(f"f{number}" for number in range(MOUNTED_ONE_BY_ONE + 1))
    image = dataclasses.replace(IMAGE, entries=entries)

    assert {"/usr/local/bin": "usr/local/bin"} == image_record.mounts(image)
    assert 16 == len(image_record.mounts(dataclasses.replace(IMAGE, entries=entries[1:])))


@pytest.mark.parametrize("kind", ["NODE", "JAVA"])
def test_chaincode_with_a_folder_of_its_own_has_it_whole(kind: str) -> None:
    """
    So that it may write there, and names in it are no matter of the Pod's.
    """
    labels = {"org.hyperledger.fabric.chaincode.type": kind}
    image = dataclasses.replace(IMAGE, labels=labels, entries=("a",), directory="/usr/local/src")

    assert {"/usr/local/src": "usr/local/src"} == image_record.mounts(image)


@pytest.mark.parametrize("entry", ["caf\udce9", "a:b", "a\nb", "\x1b"])
def test_a_name_that_no_pod_can_have_is_in_none(entry: str) -> None:
    """
    The directory is mounted instead.
    """
    image = dataclasses.replace(IMAGE, entries=("a", entry))

    assert {"/usr/local/bin": "usr/local/bin"} == image_record.mounts(image)


def test_entries_that_are_not_listed_are_mounted_as_their_directory() -> None:
    """
    One of them is a link, perhaps to nowhere, which the kubelet cannot mount.
    """
    image = dataclasses.replace(IMAGE, entries=())

    assert {"/usr/local/bin": "usr/local/bin"} == image_record.mounts(image)


def test_what_is_added_to_the_root_is_mounted_there() -> None:
    """
    With one slash.
    """
    image = Image("n", "r", "l", 1, "/", ("chaincode",), {}, {}, "", "")

    assert {"/chaincode": "chaincode"} == image_record.mounts(image)


def test_a_prebuilt_image_is_kept_and_others_are_as_they_were() -> None:
    """
    Records and IDs of an earlier version stay what they are.
    """
    prebuilt = dataclasses.replace(IMAGE, prebuilt="a/b@sha256:" + "ab" * 32)

    assert b"prebuilt" not in image_record.to_json(IMAGE)
    assert prebuilt == image_record.from_json(image_record.to_json(prebuilt))
    assert IMAGE.id != prebuilt.id
    assert (IMAGE.runtime, prebuilt.prebuilt) == (IMAGE.node_image, prebuilt.node_image)
