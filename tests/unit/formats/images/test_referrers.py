import json

import pytest

from peitho.formats.images import oci, referrers
from peitho.formats.images.oci import Descriptor

SUBJECT = Descriptor(oci.OCI_MANIFEST, "sha256:" + "ab" * 32, 7)
LAYER = Descriptor("text/plain", "sha256:" + "cd" * 32, 3)


def manifest(kind: str = "text/plain") -> bytes:
    """One that belongs to the subject."""
    return referrers.manifest(SUBJECT, LAYER, artifact_type=kind, annotations={"a": "b"})


def test_a_manifest_names_its_subject() -> None:
    """
    And has its one blob.
    """
    said = json.loads(manifest())

    assert SUBJECT.digest == said["subject"]["digest"]
    assert "text/plain" == said["artifactType"]
    assert [LAYER] == referrers.layers(manifest())


def test_an_index_has_each_manifest_once() -> None:
    """
    After those that were there.
    """
    first = referrers.index(None, [(manifest(), "text/plain")])
    both = referrers.index(first, [(manifest("x"), "x"), (manifest(), "text/plain")])

    found = referrers.read(both)
    assert ["x", "text/plain"] == [each.artifact_type for each in found]
    assert {"a": "b"} == found[0].annotations


def test_attestations_of_others_stay() -> None:
    """
    What is there already is not put twice.
    """
    other = Descriptor("text/plain", "sha256:" + "ef" * 32, 3)
    first = referrers.attestations(None, [(other, {})])
    both = referrers.attestations(first, [(LAYER, {}), (other, {})])

    assert [other, LAYER] == referrers.layers(both)
    config = json.loads(both)["config"]["digest"]
    wanted = referrers.attestation_config([other.digest, LAYER.digest])
    assert oci.digest_of(wanted) == config


def test_what_is_taken_away_leaves_the_rest() -> None:
    """
    Or nothing at all.
    """
    other = Descriptor("text/plain", "sha256:" + "ef" * 32, 3)
    attested = referrers.attestations(None, [(other, {}), (LAYER, {})])
    index = referrers.index(None, [(manifest(), "text/plain"), (manifest("x"), "x")])
    digests = [each.descriptor.digest for each in referrers.read(index)]

    left = referrers.attestations_without(attested, [LAYER.digest])
    assert referrers.attestations(None, [(other, {})]) == left
    assert referrers.attestations_without(attested, [LAYER.digest, other.digest]) is None
    assert referrers.index(None, [(manifest("x"), "x")]) == referrers.index_without(
        index, digests[:1]
    )
    assert referrers.index_without(index, digests) is None


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"manifests": [1]}', b"[" * 10_000])
def test_a_damaged_list_is_empty(content: bytes) -> None:
    """
    And is made anew.
    """
    assert [] == referrers.read(content)
    assert [] == referrers.layers(content)
    found = referrers.read(referrers.index(content, [(manifest(), "x")]))
    assert ["x"] == [each.artifact_type for each in found]
