"""A world to be swept: a Peitho as it is put together, before a double of the API server."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from peitho.api.services import Services
from peitho.formats import records
from peitho.formats.kubernetes import labels
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.records import ContainerSpec
from peitho.settings.models import Settings
from tests.support import typed
from tests.support.contexts import chunks, context
from tests.support.in_process import composed
from tests.support.kubernetes_double import ApiServer

LONG_AGO = "2020-01-02T03:04:05Z"
RUNNING = {"running": {"startedAt": LONG_AGO}}
FAILED = {"conditions": [{"type": "Failed", "status": "True", "lastTransitionTime": LONG_AGO}]}

_cluster: ContextVar[ApiServer] = ContextVar("cluster")


@asynccontextmanager
async def peitho(
    tmp_path: Path, **sections: dict[str, Any]
) -> AsyncIterator[tuple[Services, ApiServer]]:
    """The services, with some settings."""
    settings = Settings.model_validate({"dataDir": tmp_path / "data"} | sections)
    async with composed(tmp_path, settings) as (parts, cluster):
        _cluster.set(cluster)
        cluster.refuse_to_tell_of_secrets()  # stories change what they have in their hands
        yield parts.services, cluster


async def created(
    services: Services, cluster: ApiServer, name: str, peer: str = "", **annotations: str
) -> Manifest:
    """The Secret of a container whose image was built for it."""
    await services.images.build(name, chunks(context()))
    command = ("chaincode", f"-peer.address={peer}") if peer else ("chaincode",)
    spec = ContainerSpec(image=f"{name}:latest", command=command, entrypoint=(), env=())
    made = await services.containers.create(name, spec)
    summary = (await made.inspect()).summary
    secret = cluster.objects[f"secrets/{summary.kubernetes_name}"]
    for key, value in annotations.items():
        secret["metadata"]["annotations"][f"peitho/{key}"] = value
    return secret


def started(cluster: ApiServer, secret: Manifest, status: Manifest | None = None) -> None:
    """Put the container's Job into the cluster."""
    metadata = {"name": typed.job_name(secret), "labels": secret["metadata"]["labels"]}
    cluster.objects[f"jobs/{metadata['name']}"] = {"metadata": metadata, "status": status or {}}


def runs(cluster: ApiServer, secret: Manifest) -> Manifest:
    """Put the container's Pod into the cluster, running."""
    name = f"{typed.job_name(secret)}-abcde"
    cluster.objects[f"pods/{name}"] = {
        "metadata": {
            "name": name,
            "labels": secret["metadata"]["labels"],
            "annotations": secret["metadata"]["annotations"],
            "resourceVersion": "1",
            "ownerReferences": [typed.owner(secret)],
        },
        "status": {"containerStatuses": [{"name": records.CHAINCODE, "state": RUNNING}]},
    }
    cluster.news.put_nowait({"type": "ADDED", "object": cluster.objects[f"pods/{name}"]})
    return cluster.objects[f"pods/{name}"]


async def found(services: Services, *, dry_run: bool = True) -> list[tuple[str, str, str]]:
    """What one sweep finds."""
    cluster = _cluster.get(None)
    for path, body in list(cluster.objects.items()) if cluster else []:
        if path.startswith("pods/"):
            key = body["metadata"]["labels"][labels.CONTAINER]
            await typed.seen(services.watch, key, lambda seen: seen.pod)
    swept = await services.sweeper.sweep(dry_run=dry_run)
    return [(each.kind, each.name, each.why) for each in swept]


async def orphans(services: Services) -> list[str]:
    """The chaincode that a sweep would remove."""
    return [name for kind, name, _ in await found(services) if kind == "chaincode"]


def free_port() -> int:
    """A port of loopback at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
