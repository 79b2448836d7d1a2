"""
The JSON of the Docker Engine API, as far as peers and people use it.

Requests are read leniently: the three generations of client leave fields out, null or add them.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any

import pydantic_core
from pydantic import (
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from peitho.core.container import Details, PathStat, State, Summary
from peitho.core.images.base import BaseImage
from peitho.errors import InvalidArgument, Unsupported
from peitho.formats.docker import forbidden, unheeded, variables
from peitho.formats.images.image_record import Image
from peitho.formats.records import ContainerSpec, HostConfig

Json = dict[str, Any]


class _Request(BaseModel):
    # What is not read is kept, to be told of.
    model_config = ConfigDict(extra="allow", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        return {key: content for key, content in value.items() if content is not None}


# As dockerd reads numbers, and the most that a quantity of Kubernetes can be.
_MOST_NUMBER = 2**63 - 1
_Number = Annotated[int, Field(ge=-(2**63), le=_MOST_NUMBER)]


class HostConfigRequest(_Request):
    """The part of HostConfig that counts; `Memory` and `ShmSize` are in bytes."""

    auto_remove: bool = Field(default=False, alias="AutoRemove")
    memory: int = Field(default=0, alias="Memory", ge=0, le=_MOST_NUMBER)
    nano_cpus: _Number = Field(default=0, alias="NanoCpus")
    cpu_shares: _Number = Field(default=0, alias="CpuShares")
    cpu_quota: _Number = Field(default=0, alias="CpuQuota")
    cpu_period: _Number = Field(default=0, alias="CpuPeriod")
    shm_size: _Number = Field(default=0, alias="ShmSize")

    def host(self) -> HostConfig:
        """Return it as a HostConfig of ours."""
        return HostConfig(
            memory_bytes=self.memory,
            nano_cpus=self.nano_cpus,
            cpu_shares=self.cpu_shares,
            cpu_quota=self.cpu_quota,
            cpu_period=self.cpu_period,
            shm_bytes=self.shm_size,
        )


# Of a field in an error; a label is one, too.
_NAME_CHARACTERS = 200
# They are kept in an annotation, of which an object holds 256 KiB.
_LABELS_CHARACTERS = 16_000
# The first wrong word is told; to note each takes a kilobyte, and a body can have 500,000.
_Words = Annotated[tuple[str, ...], FailFast()]


class CreateRequest(_Request):
    """The body of `POST /containers/create`."""

    image: str = Field(alias="Image", min_length=1)
    cmd: _Words = Field(default=(), alias="Cmd")
    entrypoint: _Words = Field(default=(), alias="Entrypoint")
    env: _Words = Field(default=(), alias="Env")
    working_dir: str = Field(default="", alias="WorkingDir")
    tty: bool = Field(default=False, alias="Tty")
    open_stdin: bool = Field(default=False, alias="OpenStdin")
    labels: dict[str, str] = Field(default_factory=dict, alias="Labels")
    host_config: HostConfigRequest = Field(default=HostConfigRequest(), alias="HostConfig")

    @field_validator("labels")
    @classmethod
    def _short_enough(cls, labels: dict[str, str]) -> dict[str, str]:
        if sum(len(key) + len(value) for key, value in labels.items()) > _LABELS_CHARACTERS:
            raise ValueError(f"more than {_LABELS_CHARACTERS} characters in all")
        return labels

    @field_validator("cmd", "entrypoint", mode="before")
    @classmethod
    def _list_of_words(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    def warnings(self) -> list[str]:
        """Return a line for each field that is set and does not count."""
        return unheeded.warnings(self.model_extra or {}, self.host_config.model_extra or {})

    def spec(self) -> ContainerSpec:
        """
        Return it as a ContainerSpec.

        Raises Forbidden for what reaches past a container, Unsupported for a terminal or stdin:
        `docker run -it` would wait for either.
        """
        forbidden.check(self.model_extra or {}, self.host_config.model_extra or {})
        for name, is_set in (("Tty", self.tty), ("OpenStdin", self.open_stdin)):
            if is_set:
                raise Unsupported(f"{name} is not part of what Peitho does: no container has one")
        return ContainerSpec(
            image=self.image,
            command=self.cmd,
            entrypoint=self.entrypoint,
            env=self.env,
            host=self.host_config.host(),
            working_directory=self.working_dir,
            auto_remove=self.host_config.auto_remove,
            labels=self.labels,
        )


def read_create(body: bytes) -> CreateRequest:
    """
    Read the body of `POST /containers/create`.

    Raises InvalidArgument that names the wrong field.
    """
    try:
        return CreateRequest.model_validate_json(body or b"{}")
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part)[:_NAME_CHARACTERS] for part in first["loc"])
        raise InvalidArgument(
            f"invalid JSON: {where}: {first['msg']}".replace(": :", ":")
        ) from error


def check_start(body: bytes) -> None:
    """
    Raise Forbidden for what the HostConfig asks for that a start had until API 1.24.

    Nothing else of it counts, as with dockerd; a body that is no JSON says nothing.
    """
    with suppress(ValueError):
        host_config = pydantic_core.from_json(body or b"null")
        if isinstance(host_config, dict):
            forbidden.check({}, host_config)


def state(state: State) -> Json:
    """`State` of `docker inspect`."""
    return {
        "Status": state.status,
        "Running": state.status == "running",
        "Paused": False,
        "Restarting": False,
        "OOMKilled": "OOMKilled" in state.reason,
        "Dead": False,
        "Pid": 0,
        "ExitCode": state.exit_code,
        "Error": "\n".join(part for part in (state.reason, state.log) if part),
        "StartedAt": state.started_at or "0001-01-01T00:00:00Z",
        "FinishedAt": state.finished_at or "0001-01-01T00:00:00Z",
    }


def inspect(details: Details, *, image_id: str, tty: bool) -> Json:
    """`docker inspect` of a container; `tty` says that its streams are raw, without frames."""
    summary, spec = details.summary, details.spec
    command = [*spec.entrypoint, *spec.command]
    return {
        "Id": summary.id,
        "Created": summary.created,
        "Path": command[0] if command else "",
        "Args": command[1:],
        "State": state(summary.state),
        "Image": image_id,
        "Name": f"/{summary.name}",
        "RestartCount": 0,
        "Driver": "kubernetes",
        "Platform": "linux",
        "Mounts": [],
        "HostConfig": _host_config(spec.host) | {"AutoRemove": spec.auto_remove},
        "Config": {
            "Hostname": summary.id[:12],
            "Image": summary.image,
            "Cmd": list(spec.command),
            "Entrypoint": list(spec.entrypoint) or None,
            "Env": variables.shown(spec.env),
            "Labels": summary.shown_labels,
            "Tty": tty,
            "OpenStdin": False,
            "AttachStdin": False,
            "AttachStdout": True,
            "AttachStderr": True,
            "WorkingDir": spec.working_directory,
        },
        "NetworkSettings": {"Networks": {}, "Ports": {}},
    }


def _host_config(host: HostConfig) -> Json:
    return {
        "NetworkMode": "default",
        "LogConfig": {"Type": "json-file", "Config": {}},
        "Memory": host.memory_bytes,
        "NanoCpus": host.nano_cpus,
        "CpuShares": host.cpu_shares,
        "CpuQuota": host.cpu_quota,
        "CpuPeriod": host.cpu_period,
        "ShmSize": host.shm_bytes,
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
    }


def list_entry(summary: Summary, *, created: int, status: str) -> Json:
    """One line of `docker ps`; `created` is in Unix seconds, `status` for people."""
    return {
        "Id": summary.id,
        "Names": [f"/{summary.name}"],
        "Image": summary.image,
        "ImageID": "",
        "Command": summary.command,
        "Created": created,
        "Ports": [],
        "Labels": summary.shown_labels,
        "State": summary.state.status,
        "Status": status,
        "HostConfig": {"NetworkMode": "default"},
        "NetworkSettings": {"Networks": {}},
        "Mounts": [],
    }


def path_stat(stat: PathStat) -> Json:
    """The content of `X-Docker-Container-Path-Stat`."""
    return {
        "name": stat.name,
        "size": stat.size_bytes,
        "mode": stat.mode,
        "mtime": stat.modified_at,
        "linkTarget": "",
    }


def image(image: Image, *, reference: str = "") -> Json:
    """`docker inspect` of a chaincode image; nodes pull it by `reference`, if they do."""
    return {
        "Id": image.id,
        "RepoTags": [f"{image.name}:latest"],
        "RepoDigests": [reference] if reference else [],
        "Parent": "",
        "Comment": "put together by Peitho",
        "Created": image.created,
        "DockerVersion": "",
        "Author": "",
        "Config": _image_config(image.env, image.labels),
        "Architecture": image.architecture or "amd64",
        "Os": "linux",
        "Size": image.layer_bytes,
        "RootFS": {"Type": "layers", "Layers": [image.layer]},
        "Metadata": {"LastTagTime": image.created},
    }


def base_image(image: BaseImage, *, architecture: str) -> Json:
    """`docker inspect` of a builder or runtime image; at least its name is known."""
    return {
        "Id": image.id,
        "RepoTags": [image.reference],
        "RepoDigests": [],
        "Comment": "pulled by the cluster's nodes when a Pod needs it" if not image.id else "",
        "Created": image.created or "0001-01-01T00:00:00Z",
        "Config": _image_config({}, {}),
        "Architecture": architecture,
        "Os": "linux",
        "Size": image.size_bytes,
        "RootFS": {"Type": "layers"},
    }


def image_list_entry(image: Image, *, created: int) -> Json:
    """One line of `docker images`; `created` is in Unix seconds."""
    return {
        "Id": image.id,
        "ParentId": "",
        "RepoTags": [f"{image.name}:latest"],
        "RepoDigests": [],
        "Created": created,
        "Size": image.layer_bytes,
        "SharedSize": -1,
        "Labels": dict(image.labels),
        "Containers": -1,
    }


def _image_config(env: Mapping[str, str], labels: Mapping[str, str]) -> Json:
    return {
        "Env": [f"{key}={value}" for key, value in env.items()],
        "Cmd": None,
        "Labels": dict(labels),
    }
