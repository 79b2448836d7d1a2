"""
A record as it is kept in the cluster: the Secret that a container is, from create to remove.

Labels and annotations tell whose container it is and how it ended.  The data holds what the peer
asked for, the files that it uploaded, and with what the container's Pod calls Peitho: its token,
and the CA by which it knows Peitho.  Each variable's value has a key of its own: so a Pod takes it
from here, and no Pod or Job has it.
"""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from peitho.formats.kubernetes import labels, names
from peitho.formats.kubernetes.objects import Manifest, ObjectReference, metadata_of, shared
from peitho.formats.records import (
    BUILD,
    CHAINCODE,
    ContainerSpec,
    DamagedRecord,
    Exit,
    HostConfig,
    Record,
    RecordMetadata,
)

RECORD_KEY = "container.json"
FILES_KEY = "files.json"
MODES_KEY = "modes.json"
TOKEN_KEY = "token"  # noqa: S105  the name of a key in a Secret, not its value
CA_KEY = "ca.crt"
_VARIABLES = "variables"

_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.-]*")
_COMMAND_CHARACTERS = 1000
# A host name has 253 characters at most; without a bound, a long command would take very long.
# Go: `-peer.address=HOST:PORT`; Node.js and Java: `--peer.address HOST:PORT` (2.x platforms).
_PEER_ADDRESS = re.compile(r"-peer\.address[= ]([^\s'\"]{1,255}:\d{1,5})(?!\d)")
# What reading raises where a Secret is not as Peitho wrote it.
_DAMAGE = (ValueError, KeyError, TypeError, AttributeError, OverflowError)


def chaincode_secret(  # noqa: PLR0913  a record is these things
    *,
    instance: str,
    container_id: str,
    name: str,
    spec: ContainerSpec,
    token: str,
    created: str,
    ca: str = "",
) -> Manifest:
    """The Secret that is a created chaincode container."""
    content = {
        RECORD_KEY: json.dumps(_spec_to_json(spec)).encode(),
        **_access(token, ca),
        **_values(spec.env),
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": names.chaincode_name(instance, name),
            "labels": labels.container_labels(instance, CHAINCODE, container_id)
            | labels.chaincode_labels(spec, name),
            "annotations": {
                labels.ID: container_id,
                labels.NAME: name,
                labels.IMAGE: spec.image,
                labels.COMMAND: " ".join([*spec.entrypoint, *spec.command])[:_COMMAND_CHARACTERS],
                labels.CREATED: created,
                labels.PEER: peer_address(spec),
                **({labels.ASKED_LABELS: json.dumps(dict(spec.labels))} if spec.labels else {}),
            },
        },
        "type": "peitho/chaincode",
        "data": _encoded(content),
    }


def build_secret(  # noqa: PLR0913  a record is these things
    *,
    instance: str,
    owner: str,
    container_id: str,
    spec: ContainerSpec,
    token: str,
    created: str,
    ca: str = "",
) -> Manifest:
    """
    The Secret that owns a build's Pod, and holds the token of its helper, and its variables.

    `owner` tells which of several Peithos of one name carries the build out.
    """
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": names.build_name(container_id),
            "labels": labels.container_labels(instance, BUILD, container_id)
            | {labels.OWNER: owner},
            "annotations": {
                labels.ID: container_id,
                labels.IMAGE: spec.image,
                labels.CREATED: created,
            },
        },
        "type": "peitho/build",
        "data": _encoded(_access(token, ca) | _values(spec.env)),
    }


def read(secret: Manifest) -> Record | DamagedRecord:
    """The record that a chaincode's Secret is."""
    try:
        content = json.loads(_decoded(secret, RECORD_KEY))
        env = _env(secret, content)
        return Record(
            **_metadata_fields(secret),
            spec=_spec_from_json(content, env),
            variables=variable_keys(env) if _VARIABLES in content else {},
            files=_listed(secret, FILES_KEY),
            modes=_listed(secret, MODES_KEY),
            token=_text(secret, TOKEN_KEY),
            ca=_text(secret, CA_KEY),
        )
    except _DAMAGE as error:
        return _damaged(secret, error)


def read_metadata(secret: Manifest) -> RecordMetadata | DamagedRecord:
    """What the metadata of a Secret tell of its record, a build's or a chaincode's."""
    try:
        return RecordMetadata(**_metadata_fields(secret))
    except _DAMAGE as error:
        return _damaged(secret, error)


def variable_keys(env: Sequence[str]) -> dict[str, str]:
    """Where the Secret has the value of each variable; the last of a name counts."""
    keys = {}
    for number, variable in enumerate(env):
        name, separator, _ = variable.partition("=")
        if separator:
            keys[name] = f"env.{number}"
    return keys


def reference(record: RecordMetadata) -> ObjectReference:
    """The Secret as owner of what is made for its container."""
    return ObjectReference("v1", "Secret", record.kubernetes_name, record.uid)


def annotations(record: RecordMetadata) -> dict[str, str]:
    """What Pods and Jobs of a container say of it."""
    said = {
        labels.ID: record.id,
        labels.IMAGE: record.image,
        labels.CREATED: record.created,
    }
    if record.kind == CHAINCODE:
        said[labels.NAME] = record.name
        said[labels.COMMAND] = record.command
        said[labels.PEER] = record.peer_address
    return said


def files_patch(
    record: Record, files: Mapping[str, bytes], modes: Mapping[str, int] | None = None
) -> Manifest:
    """The change to a Secret that adds files to its record, or replaces them, by path."""
    keys = dict(record.files)
    data = {}
    for path, content in sorted(files.items()):
        keys.setdefault(path, f"file.{len(keys)}")
        data[keys[path]] = content
    data[FILES_KEY] = json.dumps(keys, sort_keys=True).encode()
    all_modes = dict(record.modes) | dict(modes or {})
    data[MODES_KEY] = json.dumps(all_modes, sort_keys=True).encode()
    # With the version, two uploads at once are a conflict; without it, one would lose its files.
    return {"metadata": {"resourceVersion": record.resource_version}, "data": _encoded(data)}


def access_patch(record: Record, *, token: str, ca: str) -> Manifest:
    """The change to a Secret that gives its Pod another token, and another CA."""
    return {"metadata": {"uid": record.uid}, "data": _encoded(_access(token, ca))}


def exit_patch(record: RecordMetadata, end: Exit, *, finished_at: str) -> Manifest:
    """The change to a Secret that notes how exactly this container ended."""
    note = exit_note(end, finished_at=finished_at)
    return {"metadata": {"uid": record.uid, "annotations": {labels.EXIT: note}}}


def exit_note(end: Exit, *, finished_at: str) -> str:
    """How a container ended, as an annotation."""
    return json.dumps({"code": end.code, "reason": end.reason, "at": finished_at, "log": end.log})


def peer_address(spec: ContainerSpec) -> str:
    """`HOST:PORT` at which the chaincode calls its peer, by its command; empty if it has none."""
    address = _PEER_ADDRESS.search(" ".join([*spec.entrypoint, *spec.command]))
    return address[1] if address else ""


def _metadata_fields(secret: Manifest) -> dict[str, Any]:
    metadata = secret["metadata"]
    notes = _texts(metadata["annotations"], "annotation")
    created = notes[labels.CREATED]
    datetime.fromisoformat(created).timestamp()
    container_id = notes[labels.ID]
    if not _ID.fullmatch(container_id):  # names of other objects are made of it
        raise ValueError(f"{container_id[:80]!r} is no ID of a container")
    own = labels.renewed(_texts(metadata.get("labels") or {}, "label"))
    kind = own.get(labels.KIND, "")
    return {
        "kind": kind,
        "id": container_id,
        "name": names.build_name(container_id) if kind == BUILD else notes[labels.NAME],
        "kubernetes_name": metadata["name"],
        "uid": metadata.get("uid", ""),
        "resource_version": metadata.get("resourceVersion", ""),
        "labels": own,
        "image": notes.get(labels.IMAGE, ""),
        "command": notes.get(labels.COMMAND, ""),
        "created": created,
        "peer_address": notes.get(labels.PEER, ""),
        "exit": _noted_exit(notes.get(labels.EXIT, "")),
        "asked_labels": _texts(json.loads(notes.get(labels.ASKED_LABELS, "{}")), "label"),
    }


def _texts(found: Mapping[Any, Any], what: str) -> dict[str, str]:
    """Return a mapping of texts. Raises TypeError if it is not."""
    for key, value in found.items():
        if not isinstance(value, str):
            raise TypeError(f"the {what} {key} is no text")
    return {shared(key): shared(value) for key, value in found.items()}


def _noted_exit(note: str) -> Exit | None:
    if not note:
        return None
    fields = json.loads(note)
    datetime.fromisoformat(fields["at"]).timestamp()
    code, reason, said = int(fields["code"]), str(fields["reason"]), str(fields.get("log", ""))
    return Exit(code, reason, fields["at"], said)


def _damaged(secret: Manifest, error: Exception) -> DamagedRecord:
    metadata = metadata_of(secret)
    cause = f"{type(error).__name__}: {error}"
    own = metadata.get("labels")
    return DamagedRecord(
        kubernetes_name=str(metadata.get("name", "")),
        uid=str(metadata.get("uid", "")),
        labels=labels.renewed(own) if isinstance(own, dict) else {},
        cause=cause,
    )


def _values(env: Sequence[str]) -> dict[str, bytes]:
    """The values of all variables, each by its key: of a name that comes twice, both."""
    return {
        f"env.{number}": variable.partition("=")[2].encode()
        for number, variable in enumerate(env)
        if "=" in variable
    }


def _env(secret: Manifest, content: Mapping[str, Any]) -> tuple[str, ...]:
    """The variables of a record; an earlier version kept their values with the rest."""
    if _VARIABLES not in content:
        return tuple(content["env"])
    return tuple(
        f"{said}{_decoded(secret, f'env.{number}').decode()}" if said.endswith("=") else said
        for number, said in enumerate(content[_VARIABLES])
    )


def _spec_to_json(spec: ContainerSpec) -> dict[str, Any]:
    return {
        "image": spec.image,
        "command": list(spec.command),
        "entrypoint": list(spec.entrypoint),
        # Without the values, but for the sign that there is one.
        _VARIABLES: ["".join(variable.partition("=")[:2]) for variable in spec.env],
        "host": asdict(spec.host),
        "workingDirectory": spec.working_directory,
    }


def _spec_from_json(content: Mapping[str, Any], env: tuple[str, ...]) -> ContainerSpec:
    return ContainerSpec(
        image=content["image"],
        command=tuple(content["command"]),
        entrypoint=tuple(content["entrypoint"]),
        env=env,
        host=HostConfig(**content["host"]),
        working_directory=content["workingDirectory"],
    )


def _listed(secret: Manifest, key: str) -> dict[str, Any]:
    return dict(json.loads(_decoded(secret, key))) if key in secret["data"] else {}


def _access(token: str, ca: str) -> dict[str, bytes]:
    return {TOKEN_KEY: token.encode(), CA_KEY: ca.encode()}


def _text(secret: Manifest, key: str) -> str:
    return _decoded(secret, key).decode() if key in secret["data"] else ""


def _decoded(secret: Manifest, key: str) -> bytes:
    return base64.b64decode(secret["data"][key])


def _encoded(data: Mapping[str, bytes]) -> dict[str, str]:
    return {key: base64.b64encode(content).decode() for key, content in data.items()}
