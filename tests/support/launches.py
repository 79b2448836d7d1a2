"""Chaincode that is launched before the cluster's double, where its Pod does what a test says."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from peitho.core.chaincode.container import ChaincodeContainer
from peitho.core.container import Container
from peitho.formats.kubernetes import labels, names
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.records import CHAINCODE, PULLER, ContainerSpec, Exit
from peitho.program.composition import Composition
from peitho.settings.models import Settings
from tests.support import typed
from tests.support.contexts import chunks, context
from tests.support.in_process import composed
from tests.support.kubernetes_double import ApiServer, always, answer

NAME = "dev-peer0-mycc-1.0"
SPEC = ContainerSpec(image="mycc", command=("chaincode",), entrypoint=(), env=("A=1",))
AT = "2026-01-02T03:04:05Z"
# After this, what was written is read again where no watch tells of it.
LATER_SECONDS = 3.0
RUNNING = {"running": {"startedAt": AT}}


def ended(code: int, **more: str) -> Manifest:
    """The state of a container that has ended."""
    return {"terminated": {"exitCode": code, "startedAt": AT, "finishedAt": AT, **more}}


@dataclass
class Scene:
    """
    A Peitho, the cluster before it, and news of Pods that are told to its watch.

    With an `image_id`, Pods have a puller, and their node says which runtime image runs.
    """

    parts: Composition
    cluster: ApiServer
    news: "asyncio.Queue[Manifest]" = field(default_factory=asyncio.Queue)
    version: int = 100
    pod_uid: str = "uid-pod"
    image_id: str = ""

    async def create(self, name: str = NAME) -> ChaincodeContainer:
        """A created container, whose image was built for it."""
        await self.parts.services.images.build("mycc", chunks(context()))
        made = await self.parts.services.containers.create(name, SPEC)
        assert isinstance(made, ChaincodeContainer)
        self.cluster.script("POST", "events", always(lambda: answer({}, status=201)))
        return made

    async def find(self, name: str = NAME) -> Container:
        """The container as another call of the peer finds it."""
        return await self.parts.services.containers.get(name)

    async def tell(
        self,
        container: Container,
        state: Manifest,
        kind: str = "MODIFIED",
        *,
        puller: Manifest | None = None,
    ) -> None:
        """
        Have the watch tell of the container's Pod, and return once Peitho has heard of it.

        `puller` is the state of a puller beside it.
        """
        await self.send(container, state, kind, puller=puller)
        key, version = labels.container_label(container.id), str(self.version)
        await typed.seen(
            self.parts.services.watch,
            key,
            lambda seen: (seen.pod and seen.pod.resource_version == version) or None,
        )

    async def send(
        self, container: Container, state: Manifest, kind: str, *, puller: Manifest | None = None
    ) -> None:
        """Have the watch tell of the container's Pod."""
        self.version += 1
        pod = self._pod(container, state)
        if puller:
            beside = {"name": PULLER, "image": "peitho", "state": puller}
            pod["status"]["containerStatuses"].insert(0, beside)
        if kind == "DELETED":
            self.cluster.objects.pop("pods/pod", None)
        else:
            self.cluster.objects["pods/pod"] = pod
        await self.news.put({"type": kind, "object": pod})

    def lose_node(self, *, silently: bool = False) -> None:
        """Let no kubelet be there any more: a Pod that is deleted stays, but for one by force."""

        async def deleted(request: web.Request) -> web.StreamResponse:
            grace = json.loads(await request.read())["gracePeriodSeconds"]
            pod = self.cluster.objects["pods/pod"]
            if not silently:
                await self.terminate(grace_seconds=grace)
            return answer(pod)

        self.cluster.rule("DELETE", "pods/pod", deleted)

    async def terminate(self, *, grace_seconds: int) -> None:
        """Have the watch tell that the Pod is deleted, or is gone if no grace is left."""
        self.version += 1
        pod = self.cluster.objects["pods/pod"]
        pod["metadata"] |= {
            "deletionTimestamp": AT,
            "deletionGracePeriodSeconds": grace_seconds,
            "resourceVersion": str(self.version),
        }
        if grace_seconds == 0:
            del self.cluster.objects["pods/pod"]
        await self.news.put({"type": "MODIFIED" if grace_seconds else "DELETED", "object": pod})

    async def launch(self, container: ChaincodeContainer) -> None:
        """Start the container; its process runs as soon as its Job is there."""
        async with asyncio.TaskGroup() as group:
            starting = group.create_task(container.start())
            await self.cluster.until_asked("POST", "jobs")
            await self.tell(container, RUNNING, "ADDED")
        assert starting.result() is True

    @property
    def noted(self) -> Exit | None:
        """The exit on the only record."""
        (secret,) = (body for path, body in self.cluster.objects.items() if "secrets/" in path)
        return typed.noted_exit(secret)

    @property
    def job(self) -> Manifest:
        """The only Job."""
        (job,) = (body for path, body in self.cluster.objects.items() if "jobs/" in path)
        return job

    def kinds(self) -> list[str]:
        """The kinds of objects in the cluster."""
        return sorted(path.partition("/")[0] for path in self.cluster.objects)

    def _owner(self, container: Container) -> Manifest:
        """The container's Job, which may be gone by now."""
        name = f"{names.kubernetes_name('cc', NAME)}-{container.id[:8]}"
        job = self.cluster.objects.get(f"jobs/{name}")
        return {"kind": "Job", "name": name, "uid": job["metadata"]["uid"] if job else "uid-job"}

    def _pod(self, container: Container, state: Manifest) -> Manifest:
        return {
            "metadata": {
                "name": "pod",
                "uid": self.pod_uid,
                "labels": labels.container_labels("peitho", CHAINCODE, container.id),
                "annotations": {labels.ID: container.id, labels.NAME: NAME},
                "resourceVersion": str(self.version),
                "ownerReferences": [self._owner(container)],
            },
            "status": {
                "containerStatuses": [
                    {"name": CHAINCODE, "image": "i", "imageID": self.image_id, "state": state}
                ],
                "initContainerStatuses": [
                    {"name": PULLER, "image": "i", "state": ended(0)}
                    for _ in range(bool(self.image_id))
                ],
            },
        }


@asynccontextmanager
async def scene(
    tmp_path: Path, *, docker: Manifest | None = None, **chaincode: Any
) -> AsyncIterator[Scene]:
    """A Peitho with settings for chaincode; by default `start` waits for nothing but the Pod."""
    settings = Settings.model_validate(
        {
            "dataDir": tmp_path / "data",
            "docker": docker or {},
            "chaincode": {"settleSeconds": 0, **chaincode},
        }
    )
    news: asyncio.Queue[Manifest] = asyncio.Queue()

    async def told(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        while True:
            await response.write(json.dumps(await news.get()).encode() + b"\n")

    async with (
        composed(tmp_path, settings, watch=told) as (parts, cluster),
        asyncio.timeout(300),
    ):
        yield Scene(parts, cluster, news)
