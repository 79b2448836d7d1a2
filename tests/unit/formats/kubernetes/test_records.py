import base64
import dataclasses
from typing import Any

import pytest

from peitho.formats.kubernetes import records
from peitho.formats.kubernetes.pod_status import Exit
from peitho.formats.kubernetes.records import ContainerSpec
from peitho.formats.kubernetes.resources import HostConfig

Manifest = dict[str, Any]

ID = "0123456789abcdef" * 4
TOKEN = "the-token-of-the-layer"  # noqa: S105
KEY = "/etc/hyperledger/fabric/client.key"
CRT = "/etc/hyperledger/fabric/client.crt"
SPEC = ContainerSpec(
    image="net-mycc",
    command=("chaincode", "-peer.address=172.17.0.1:7052"),
    entrypoint=(),
    env=(
        "CORE_CHAINCODE_ID_NAME=mycc_1:" + "ab" * 32,
        "CORE_CHAINCODE_LOGGING_FORMAT=%{color}$(HOME) $$ $",
        "CORE_PEER_LOCALMSPID=Org1MSP",
    ),
    host=HostConfig(memory_bytes=2**31),
)


def record(spec: ContainerSpec = SPEC) -> Manifest:
    """The Secret of a created container, as the API server gives it back."""
    secret = records.chaincode_record(
        instance="peitho",
        container_id=ID,
        name="dev-peer0.org1-mycc-1.0",
        spec=spec,
        token=TOKEN,
        created="2026-01-02T03:04:05Z",
    )
    secret["metadata"] |= {"uid": "u-1", "resourceVersion": "7"}
    return secret


def with_files(secret: Manifest, files: dict[str, bytes]) -> Manifest:
    """The same Secret after an upload."""
    patch = records.files_patch(secret, files)
    return secret | {"data": secret["data"] | patch["data"]}


class TestTheRecord:
    def test_a_created_container_is_a_secret_that_says_who_it_is(self) -> None:
        """
        The name is readable, and an operator can select by package and MSP ID.
        """
        metadata = record()["metadata"]

        assert metadata["name"].startswith("cc-dev-peer0-org1-mycc-1-0-")
        assert {
            "app.kubernetes.io/managed-by": "peitho",
            "app.kubernetes.io/instance": "peitho",
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
        assert spec == records.spec_of(record(spec))


class TestFiles:
    def test_files_are_kept_by_their_path(self) -> None:
        """
        Binary content is kept as it is, below a key that a Secret may have.
        """
        secret = with_files(record(), {KEY: b"\0key\xff", CRT: b"crt"})

        found = records.files_of(secret)
        assert {KEY, CRT} == set(found)
        assert b"\0key\xff" == base64.b64decode(secret["data"][found[KEY]])
        assert {} == records.files_of(record())

    def test_a_second_upload_adds_and_replaces(self) -> None:
        """
        No file takes the key of another.
        """
        secret = with_files(record(), {KEY: b"old"})
        secret = with_files(secret, {CRT: b"crt", KEY: b"new"})

        found = records.files_of(secret)
        contents = {path: base64.b64decode(secret["data"][key]) for path, key in found.items()}
        assert {KEY: b"new", CRT: b"crt"} == contents

    def test_two_uploads_at_once_conflict(self) -> None:
        """
        The change is for the version it was made from, and leaves the record alone.
        """
        patch = records.files_patch(record(), {KEY: b"k"})

        assert {"resourceVersion": "7"} == patch["metadata"]
        assert records.RECORD_KEY not in patch["data"]


def test_how_a_container_ended_is_read_as_it_was_noted() -> None:
    """
    Code, reason and last words; before the end there is nothing.
    """
    secret = record()
    assert records.noted_exit(secret) is None

    end = Exit(137, "OOMKilled", "2026-01-02T03:04:05Z", "the last\nline \u00e9")
    note = records.exit_note(end, finished_at=end.finished_at)
    secret["metadata"]["annotations"][records.EXIT] = note

    assert end == records.noted_exit(secret)


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

    assert expected == records.peer_address(spec)
