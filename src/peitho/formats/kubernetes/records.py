"""
The record of a peer's container: the Secret that it is from create to remove.

It says by labels and annotations whose it is, and how it ended; it holds what the peer asked for,
the files that it uploaded, and the token with which its Pod calls us.
"""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from peitho.formats.kubernetes import names
from peitho.formats.kubernetes.pod_status import Exit
from peitho.formats.kubernetes.resources import UNLIMITED, HostConfig

Manifest = dict[str, Any]

CONTAINER = "peitho/container"
KIND = "peitho/kind"
ID = "peitho/id"
NAME = "peitho/name"
IMAGE = "peitho/image"
COMMAND = "peitho/command"
CREATED = "peitho/created"
EXIT = "peitho/exit"
PEER = "peitho/peer-address"

CHAINCODE = "chaincode"
BUILD = "build"

RECORD_KEY = "container.json"
FILES_KEY = "files.json"
TOKEN_KEY = "token"  # noqa: S105  the name of a key in a Secret, not its value

# A host name has 253 characters at most; without a bound, a long command would take very long.
# Go: `-peer.address=HOST:PORT`; Node.js and Java: `--peer.address HOST:PORT` (2.x platforms).
_PEER_ADDRESS = re.compile(r"-peer\.address[= ]([^\s'\"]{1,255}:\d{1,5})(?!\d)")
# A label's value holds 63 characters, a container's ID has 64.
_LABEL_CHARACTERS = 32


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """What the peer asked for at create."""

    image: str
    command: tuple[str, ...]
    entrypoint: tuple[str, ...]
    env: tuple[str, ...]
    host: HostConfig = UNLIMITED
    working_directory: str = ""


def container_label(container_id: str) -> str:
    """The label value by which a container's Pod is known."""
    return container_id[:_LABEL_CHARACTERS]


def label_of(record: Manifest) -> str:
    """The same, of the container that a record is."""
    return container_label(record["metadata"]["annotations"][ID])


def own_labels(instance: str) -> dict[str, str]:
    """The labels of everything that is ours, and of nothing else."""
    return {
        "app.kubernetes.io/managed-by": "peitho",
        "app.kubernetes.io/instance": instance,
    }


def kind_labels(instance: str, kind: str) -> dict[str, str]:
    """The labels of everything of ours that is of one kind."""
    return own_labels(instance) | {KIND: kind}


def labels(instance: str, kind: str, container_id: str) -> dict[str, str]:
    """Our labels, and those of one container."""
    return kind_labels(instance, kind) | {CONTAINER: container_label(container_id)}


def chaincode_record(  # noqa: PLR0913  a record is these six things
    *, instance: str, container_id: str, name: str, spec: ContainerSpec, token: str, created: str
) -> Manifest:
    """The Secret that is a created chaincode container."""
    record = json.dumps(spec_to_json(spec))
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": names.kubernetes_name("cc", name),
            "labels": labels(instance, CHAINCODE, container_id) | _who(spec, name),
            "annotations": {
                ID: container_id,
                NAME: name,
                IMAGE: spec.image,
                COMMAND: " ".join([*spec.entrypoint, *spec.command])[:1000],
                CREATED: created,
                PEER: peer_address(spec),
            },
        },
        "type": "peitho/chaincode",
        "data": _encoded({RECORD_KEY: record.encode(), TOKEN_KEY: token.encode()}),
    }


def build_record(
    *, instance: str, container_id: str, spec: ContainerSpec, token: str, created: str
) -> Manifest:
    """The Secret that owns a build's Pod, and holds the token with which its helper calls us."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": build_name(container_id),
            "labels": labels(instance, BUILD, container_id),
            "annotations": {ID: container_id, IMAGE: spec.image, CREATED: created},
        },
        "type": "peitho/build",
        "data": _encoded({TOKEN_KEY: token.encode()}),
    }


def build_name(container_id: str) -> str:
    """The name of a build's Secret and Pod."""
    return f"build-{container_id[:12]}"


def peer_address(spec: ContainerSpec) -> str:
    """`HOST:PORT` at which the chaincode calls its peer, by its command; empty if it has none."""
    found = _PEER_ADDRESS.search(" ".join([*spec.entrypoint, *spec.command]))
    return found[1] if found else ""


def spec_to_json(spec: ContainerSpec) -> Manifest:
    """A container's spec as it is kept in its Secret."""
    return {
        "image": spec.image,
        "command": list(spec.command),
        "entrypoint": list(spec.entrypoint),
        "env": list(spec.env),
        "host": asdict(spec.host),
        "workingDirectory": spec.working_directory,
    }


def spec_of(secret: Manifest) -> ContainerSpec:
    """The spec that a chaincode's Secret holds."""
    record = json.loads(base64.b64decode(secret["data"][RECORD_KEY]))
    return ContainerSpec(
        image=record["image"],
        command=tuple(record["command"]),
        entrypoint=tuple(record["entrypoint"]),
        env=tuple(record["env"]),
        host=HostConfig(**record["host"]),
        working_directory=record["workingDirectory"],
    )


def files_of(secret: Manifest) -> dict[str, str]:
    """The files uploaded so far: path in the container to key in the Secret."""
    content = secret["data"].get(FILES_KEY)
    return dict(json.loads(base64.b64decode(content))) if content else {}


def files_patch(secret: Manifest, files: Mapping[str, bytes]) -> Manifest:
    """The change to a chaincode's Secret that adds files, or replaces them, by path."""
    keys = files_of(secret)
    data = {}
    for path, content in sorted(files.items()):
        keys.setdefault(path, f"file.{len(keys)}")
        data[keys[path]] = content
    data[FILES_KEY] = json.dumps(keys, sort_keys=True).encode()
    # The version makes two uploads at once a conflict instead of a file lost.
    version = secret["metadata"]["resourceVersion"]
    return {"metadata": {"resourceVersion": version}, "data": _encoded(data)}


def exit_note(end: Exit, *, finished_at: str) -> str:
    """How a container ended, as it is kept on its Secret."""
    return json.dumps({"code": end.code, "reason": end.reason, "at": finished_at, "log": end.log})


def noted_exit(secret: Manifest) -> Exit | None:
    """How a container ended, if that is on its Secret."""
    note = secret["metadata"]["annotations"].get(EXIT)
    if not note:
        return None
    fields = json.loads(note)
    return Exit(fields["code"], fields["reason"], fields["at"], fields.get("log", ""))


def _who(spec: ContainerSpec, name: str) -> dict[str, str]:
    """Labels by which an operator finds a chaincode: package ID, MSP ID and Docker name."""
    env = dict(each.partition("=")[::2] for each in spec.env)
    found = {
        "peitho/chaincode": env.get("CORE_CHAINCODE_ID_NAME", ""),
        "peitho/msp-id": env.get("CORE_PEER_LOCALMSPID", ""),
        "peitho/container-name": name,
    }
    return {key: names.label_value(value) for key, value in found.items() if value}


def _encoded(data: Mapping[str, bytes]) -> dict[str, str]:
    return {key: base64.b64encode(content).decode() for key, content in data.items()}
