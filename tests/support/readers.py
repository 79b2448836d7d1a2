"""
Every reader of what comes from outside, as a function of bytes, and bytes that are sound for it.

A reader may refuse what it is given with a PeithoError, or with what its docstring names; anything
else that it raises is a fault.
"""

import gzip
import io
import json
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aiohttp import web

from peitho.api import delivery, filters, models, queries, routes
from peitho.api.filters import ContainerFilters, ImageFilters
from peitho.api.options import Options
from peitho.clients.disk.sealed import BrokenSealError, seal, unseal
from peitho.clients.kubernetes.api import _read_all
from peitho.clients.proxies import Proxies
from peitho.core.clock import unix_seconds
from peitho.core.pods.tokens import DeliveryTokens, build_scope, tenant_of
from peitho.errors import InvalidArgument, PeithoError
from peitho.formats import retry_after, tar
from peitho.formats.docker import daemon, dockerfile, endpoints, names, patterns
from peitho.formats.docker.streams import FrameReader
from peitho.formats.images import (
    architectures,
    auth_challenges,
    image_record,
    layers,
    oci,
    references,
)
from peitho.formats.images.repositories import is_loopback, split_server
from peitho.formats.kubernetes import (
    job_status,
    mount_paths,
    pod_status,
    quantities,
    record_secrets,
    spec_check,
    templates,
)
from peitho.formats.kubernetes.timed_lines import TimedLines
from peitho.formats.tar import ArchiveLimits
from peitho.settings import loading
from peitho.settings.loading import SettingsError
from tests.support import manifests
from tests.support.archives import archive_bytes, directory, file, symlink
from tests.support.contexts import DOCKERFILE, context
from tests.support.requests import request

_OPTIONS = [each for route in routes.ROUTES for each in route if isinstance(each, Options)]
_LIMITS = ArchiveLimits(entries=1000, total_bytes=1024**2, names_bytes=1024**2)
_NOW = datetime(2026, 1, 2, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Reader:
    """A reader, and what it takes."""

    read: Callable[[bytes], object]
    seeds: tuple[bytes, ...]

    def survives(self, data: bytes) -> None:
        """Read something; a PeithoError is an answer."""
        try:
            self.read(data)
        except PeithoError:
            return


def _text(read: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: read(data.decode("utf-8", "replace"))


def _manifest(read: Callable[[dict[str, Any]], object]) -> Callable[[bytes], object]:
    """A reader of an object of the API server, which is JSON and a mapping."""

    def read_manifest(data: bytes) -> object:
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            return None
        return read(document) if isinstance(document, dict) else None

    return read_manifest


def _create(data: bytes) -> None:
    asked = models.read_create(data)
    asked.warnings()
    spec_check.check(asked.spec())


def _layer(data: bytes) -> None:
    layers.write(io.BytesIO(data), io.BytesIO(), directory="/usr/local", limits=_LIMITS)


def _unpack(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tar.unpack(io.BytesIO(data), Path(folder), limits=_LIMITS)


def _container_filters(text: str) -> None:
    ContainerFilters.of(filters.parse(text, filters.CONTAINERS)).select([], [])


def _image_filters(text: str) -> None:
    ImageFilters.of(filters.parse(text, filters.IMAGES)).select([])


def _unseal(data: bytes) -> None:
    with suppress(BrokenSealError):
        unseal(data)


def _image_manifest(data: bytes) -> None:
    oci.read_manifest("application/vnd.oci.image.manifest.v1+json", data)


def _image_config(data: bytes) -> None:
    manifest = oci.read_manifest("", _dumped(_OCI))
    oci.read_image("mycc", manifest, data)
    oci.append(oci.read_base(manifest, data), manifests.IMAGE)


def _choose(data: bytes) -> None:
    oci.choose("application/vnd.oci.image.index.v1+json", data, architecture="amd64")


def _challenge(text: str) -> None:
    auth_challenges.read_challenge([text, text])


def _timed_lines(data: bytes) -> None:
    lines = TimedLines(since_nanoseconds=10**18, timestamps=True)
    for piece in (data[:7], data[7:]):
        lines.feed(piece)


def _frames(data: bytes) -> None:
    reader = FrameReader()
    for piece in (data[:5], data[5:]):
        reader.feed(piece)


def _settings(data: bytes) -> None:
    with tempfile.NamedTemporaryFile() as written, suppress(SettingsError):
        written.write(data)
        written.flush()
        loading.load(Path(written.name), environment={})


def _kubeconfig(data: bytes) -> None:
    with tempfile.NamedTemporaryFile() as written:
        written.write(data)
        written.flush()
        _read_all(Path(written.name), Proxies())


def _moment(text: str) -> None:
    with suppress(ValueError):
        unix_seconds(text)


def _mount_path(text: str) -> None:
    for read in (mount_paths.of_directory, mount_paths.of_file):
        with suppress(InvalidArgument):
            read(text)


def _template(template: dict[str, Any]) -> None:
    if not templates.problems(template):
        templates.applied({"metadata": {}, "spec": {"containers": []}}, [template])


def _quantity(text: str) -> None:
    with suppress(ValueError):
        quantities.number(text)


def _host(text: str) -> None:
    is_loopback(text)
    split_server(text)


def _query(text: str) -> None:
    """Whatever stands behind the `?` of any call, where it can stand in a request at all."""
    try:
        asked = request(f"/?{quote(text, safe='&=+%')}")
    except ValueError:
        return
    readers: list[Callable[[web.Request], object]] = [each.check for each in _OPTIONS]
    for name in {*asked.query, "t", "tail", "since", "filters", "path"}:
        readers += [
            partial(queries.required, name=name),
            partial(queries.flag, name=name),
            partial(queries.number, name=name, default=0),
            partial(queries.nanoseconds, name=name),
        ]
    for read in readers:
        with suppress(PeithoError):
            read(asked)


def _token(text: str) -> None:
    tokens = DeliveryTokens(b"key")
    assert tokens.holder(text, build_scope("a")) is None
    tenant_of(text)


def _dumped(value: object) -> bytes:
    return json.dumps(value).encode()


_PACKAGE = archive_bytes([directory("d"), file("d/a"), symlink("d/b", "a")])
_SECRET = manifests.with_files(manifests.record(), {"/etc/x": b"1"})
_POD = manifests.pod_of(manifests.job(manifests.record())) | {
    "status": {
        "phase": "Running",
        "containerStatuses": [
            {
                "name": "chaincode",
                "restartCount": 0,
                "state": {"terminated": {"exitCode": 1, "reason": "Error"}},
            }
        ],
        "conditions": [{"type": "PodScheduled", "status": "False", "message": "no node"}],
    }
}
_JOB = manifests.job(manifests.record()) | {
    "status": {"conditions": [{"type": "Failed", "status": "True", "reason": "x"}]}
}
_OCI = {
    "schemaVersion": 2,
    "mediaType": "application/vnd.oci.image.manifest.v1+json",
    "config": {"mediaType": "x", "digest": f"sha256:{'0' * 64}", "size": 2},
    "layers": [{"mediaType": "x", "digest": f"sha256:{'0' * 64}", "size": 2}],
}
_OCI_CONFIG = {
    "rootfs": {"type": "layers", "diff_ids": [f"sha256:{'0' * 64}"]},
    "config": {"Labels": {"a": "b"}, "Env": ["A=b"]},
    "history": [{"created_by": "x"}],
}
_OCI_ENTRY = {
    "mediaType": "x",
    "digest": f"sha256:{'0' * 64}",
    "size": 2,
    "platform": {"os": "linux", "architecture": "amd64"},
}
_IMAGE_RECORD = image_record.to_json(replace(manifests.IMAGE, created="2026-01-02T03:04:05Z"))
_CREATE = {
    "Image": "mycc",
    "Cmd": ["chaincode"],
    "Env": ["A=b"],
    "HostConfig": {"Memory": 2**31, "NetworkMode": "host"},
}
_TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "chaincode"}]}}
_LINE = b"2026-01-02T03:04:05.678901234Z said\n"
_YAML = b"k8s:\n  dns: ['10.0.0.1:peer0']\nlog: {level: info}\nsweeper: {interval: 30}\n"
_KUBECONFIG = b"""\
current-context: a
contexts: [{name: a, context: {cluster: a, user: a}}]
clusters: [{name: a, cluster: {server: 'https://127.0.0.1'}}]
users: [{name: a, user: {token: t}}]
"""

READERS: Mapping[str, Reader] = {
    "upload": Reader(
        lambda data: tar.scan(io.BytesIO(data), limits=_LIMITS, digests=True),
        (_PACKAGE, gzip.compress(_PACKAGE), context()),
    ),
    "files": Reader(lambda data: tar.read_files(io.BytesIO(data), limits=_LIMITS), (_PACKAGE,)),
    "unpack": Reader(_unpack, (_PACKAGE, gzip.compress(_PACKAGE))),
    "layer": Reader(_layer, (_PACKAGE,)),
    "create": Reader(_create, (_dumped(_CREATE),)),
    "dockerfile": Reader(_text(dockerfile.parse), (DOCKERFILE.encode(),)),
    "container filters": Reader(_text(_container_filters), (b'{"label": ["a=b"]}',)),
    "image filters": Reader(_text(_image_filters), (b'{"reference": {"a*": true}}',)),
    "pattern": Reader(_text(patterns.regular_expression), (b"^dev-.*a+$",)),
    "glob": Reader(_text(patterns.glob), (b"a*/b?",)),
    "query": Reader(
        _text(_query), (b"t=5&signal=SIGTERM", b"tail=all&since=1.5&follow=1", b"a=%00")
    ),
    "token": Reader(_text(_token), (b"default.build-ab.ab.0123",)),
    "exit code": Reader(delivery.read_exit_code, (b"0", b"137", b" 1\n")),
    "architecture": Reader(_text(architectures.checked), (b"amd64",)),
    "container name": Reader(_text(names.valid_container_name), (b"dev-peer0.org1-mycc-1.0",)),
    "reference": Reader(_text(references.parse), (b"host:5000/a/b:tag@sha256:" + b"0" * 64,)),
    "host": Reader(_text(_host), (b"[::1]:5000", b"localhost/a")),
    "mount path": Reader(_text(_mount_path), (b"/chaincode/input",)),
    "endpoint": Reader(_text(endpoints.parse), (b"tcp://host:2375", b"unix:///run/docker.sock")),
    "frames": Reader(_frames, (b"\x01\0\0\0\0\0\0\x01a",)),
    "pull progress": Reader(daemon.pull_error, (b'{"errorDetail": {"message": "no"}}',)),
    "image record": Reader(
        image_record.from_json,
        (image_record.to_json(replace(manifests.IMAGE, created="2026-01-02T03:04:05Z")),),
    ),
    "sealed": Reader(_unseal, (seal(b"{}"),)),
    "oci manifest": Reader(_image_manifest, (_dumped(_OCI),)),
    "oci config": Reader(_image_config, (_dumped(_OCI_CONFIG),)),
    "oci index": Reader(_choose, (_dumped({"manifests": [_OCI_ENTRY]}),)),
    "challenge": Reader(_text(_challenge), (b'Bearer realm="https://a/t",service="b"',)),
    "registry's token": Reader(auth_challenges.read_token, (b'{"token": "t", "expires_in": 60}',)),
    "refusal": Reader(
        lambda data: auth_challenges.refusal(data, secrets=["s"]),
        (b'{"errors": [{"code": "DENIED", "message": "m"}]}',),
    ),
    "retry after": Reader(
        _text(lambda text: retry_after.seconds(text, now=_NOW)),
        (b"120", b"Wed, 21 Oct 2026 07:28:00 GMT"),
    ),
    "record": Reader(_manifest(record_secrets.read), (_dumped(_SECRET),)),
    "record metadata": Reader(_manifest(record_secrets.read_metadata), (_dumped(_SECRET),)),
    "pod": Reader(_manifest(pod_status.read), (_dumped(_POD),)),
    "job": Reader(_manifest(job_status.read), (_dumped(_JOB),)),
    "template": Reader(_manifest(_template), (_dumped(_TEMPLATE),)),
    "quantity": Reader(_text(_quantity), (b"1.5Gi", b"100m", b"1e3")),
    "moment": Reader(_text(_moment), (b"2026-01-02T03:04:05Z",)),
    "log lines": Reader(_timed_lines, (_LINE, _LINE * 3)),
    "settings": Reader(_settings, (_YAML,)),
    "kubeconfig": Reader(_kubeconfig, (_KUBECONFIG,)),
}
