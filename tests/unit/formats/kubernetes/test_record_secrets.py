import base64
import dataclasses

import pytest

from peitho.formats.kubernetes import labels, record_secrets
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.records import ContainerSpec, DamagedRecord, Exit
from tests.support import typed
from tests.support.manifests import CRT, ID, KEY, SPEC, record, with_files


class TestTheRecord:
    def test_a_created_container_is_a_secret_that_says_who_it_is(self) -> None:
        """
        The name is readable, and an operator can select by package and MSP ID.
        """
        metadata = record()["metadata"]

        assert metadata["name"].startswith("cc-dev-peer0-org1-mycc-1-0-")
        assert {
            "peitho/instance": "peitho",
            "peitho/kind": "chaincode",
            "peitho/container": ID[:32],
            "peitho/msp-id": "Org1MSP",
            "peitho/container-name": "dev-peer0.org1-mycc-1.0",
        }.items() <= metadata["labels"].items()
        assert metadata["labels"]["peitho/chaincode"].startswith("mycc_1-abab")
        assert {
            "peitho/id": ID,
            "peitho/name": "dev-peer0.org1-mycc-1.0",
            "peitho/image": "net-mycc",
            "peitho/command": "chaincode -peer.address=172.17.0.1:7052",
            "peitho/created": "2026-01-02T03:04:05Z",
            "peitho/peer-address": "172.17.0.1:7052",
        } == metadata["annotations"]

    def test_no_label_is_longer_than_63(self) -> None:
        """
        A name of 200 characters has its place in a label too.
        """
        env = ("CORE_CHAINCODE_ID_NAME=" + "x" * 300, "CORE_PEER_LOCALMSPID=" + "é" * 90)

        labels = record(dataclasses.replace(SPEC, env=env))["metadata"]["labels"]

        assert all(len(value) <= 63 for value in labels.values())

    @pytest.mark.parametrize(
        "spec",
        [
            SPEC,
            ContainerSpec(
                image="i",
                command=(),
                entrypoint=("/bin/é", ""),
                env=("A", "=", "B=\n"),
                working_directory="/w",
            ),
        ],
    )
    def test_what_the_peer_asked_for_is_read_as_it_was(self, spec: ContainerSpec) -> None:
        """
        A restart of Peitho loses nothing of a request.
        """
        assert spec == typed.record(record(spec)).spec


class TestFiles:
    def test_files_are_kept_by_their_path(self) -> None:
        """
        Binary content is kept as it is, below a key that a Secret may have.
        """
        secret = with_files(record(), {KEY: b"\0key\xff", CRT: b"crt"})

        found = typed.record(secret).files
        assert {KEY, CRT} == set(found)
        assert b"\0key\xff" == base64.b64decode(secret["data"][found[KEY]])
        assert {} == typed.record(record()).files

    def test_a_second_upload_adds_and_replaces(self) -> None:
        """
        No file takes the key of another.
        """
        secret = with_files(record(), {KEY: b"old"})
        secret = with_files(secret, {CRT: b"crt", KEY: b"new"})

        found = typed.record(secret).files
        contents = {path: base64.b64decode(secret["data"][key]) for path, key in found.items()}
        assert {KEY: b"new", CRT: b"crt"} == contents

    def test_two_uploads_at_once_conflict(self) -> None:
        """
        The change is for the version it was made from, and leaves the record alone.
        """
        patch = record_secrets.files_patch(typed.record(record()), {KEY: b"k"})

        assert {"resourceVersion": "7"} == patch["metadata"]
        assert record_secrets.RECORD_KEY not in patch["data"]


def test_how_a_container_ended_is_read_as_it_was_noted() -> None:
    """
    Code, reason and last words; before the end there is nothing.
    """
    secret = record()
    assert typed.noted_exit(secret) is None

    end = Exit(137, "OOMKilled", "2026-01-02T03:04:05Z", "the last\nline \u00e9")
    note = record_secrets.exit_note(end, finished_at=end.finished_at)
    secret["metadata"]["annotations"][labels.EXIT] = note

    assert end == typed.noted_exit(secret)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("chaincode -peer.address=peer0:7052", "peer0:7052"),
        ("npm start -- --peer.address [fd00::1]:7052", "[fd00::1]:7052"),
        ("/bin/sh -c 'java -jar cc.jar --peerAddress peer0:7052'", ""),
        ("chaincode -peer.address=peer0:123456", ""),
        (f"chaincode -peer.address={'p' * 255}:7052", f"{'p' * 255}:7052"),
        (f"chaincode -peer.address={'p' * 256}:7052", ""),
        ("-peer.address=" * 75_000, ""),  # nothing that takes long
        ("", ""),
    ],
)
def test_the_peers_address_is_read_from_the_command(words: str, expected: str) -> None:
    """
    As the platforms of Fabric write it; anything else is no address.
    """
    spec = dataclasses.replace(SPEC, command=(words,))

    assert expected == record_secrets.peer_address(spec)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (labels.ID, None),
        (labels.NAME, None),
        (labels.CREATED, None),
        (labels.CREATED, "yesterday"),
        (labels.ID, "\0"),
        (labels.ID, "../../secrets/other"),
        (labels.IMAGE, 1),
        (labels.ASKED_LABELS, "[]"),
        (labels.ASKED_LABELS, '{"a": 1}'),
        (labels.EXIT, "{"),
        (labels.EXIT, "[]"),
        (labels.EXIT, '{"code": "x", "reason": "", "at": "2026-01-02T03:04:05Z"}'),
        (labels.EXIT, '{"code": 1, "reason": "", "at": ""}'),
    ],
)
def test_a_record_that_somebody_wrote_on_is_a_value_of_its_own(key: str, value: object) -> None:
    """
    With its name in the cluster, and the cause; what reads a list need not expect an exception.
    """
    secret = record()
    secret["metadata"]["annotations"] |= {key: value}
    if value is None:
        del secret["metadata"]["annotations"][key]

    for found in (record_secrets.read(secret), record_secrets.read_metadata(secret)):
        assert isinstance(found, DamagedRecord)
        assert (secret["metadata"]["name"], "u-1") == (found.kubernetes_name, found.uid)
        assert found.cause


@pytest.mark.parametrize("data", [None, {}, {record_secrets.RECORD_KEY: "e30="}])
def test_a_record_without_its_content_is_damaged(data: Manifest | None) -> None:
    """
    Its metadata can still be read, so that it can be listed and removed.
    """
    secret = record() | {"data": data}

    assert isinstance(record_secrets.read(secret), DamagedRecord)
    assert ID == typed.metadata(secret).id


@pytest.mark.parametrize("secret", [{}, {"metadata": None}, {"metadata": {"name": "theirs"}}])
def test_a_secret_of_somebody_else_is_no_record(secret: Manifest) -> None:
    """
    And is no trouble.
    """
    assert isinstance(record_secrets.read_metadata(secret), DamagedRecord)
