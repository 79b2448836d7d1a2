"""A build in a Pod before the cluster's double, whose watch tells what the Pod does."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from peitho.clients.kubernetes.pod_watch import PodWatch
from peitho.core.builds.build import Build, BuildUpload
from peitho.core.builds.in_pods import PodBackend, PodBackendOptions
from peitho.core.builds.output import BuildOutput
from peitho.core.container import OutputOptions
from peitho.core.pods.account_secrets import AccountSecrets
from peitho.core.pods.tokens import DeliveryTokens
from peitho.formats import records
from peitho.formats.kubernetes import build_pod, labels
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.kubernetes.pod_options import PodOptions
from peitho.formats.records import ContainerSpec
from tests.support.contexts import chunks, package
from tests.support.kubernetes_double import (
    ApiServer,
    Script,
    watch,
)

ID = "ab" * 32
NAME = "build-abababababab"
SPEC = ContainerSpec(image="ccenv:2.5", command=("make",), entrypoint=(), env=("A=1",))
SETTINGS = PodOptions(
    instance="peitho",
    peitho_image="peitho:1",
    peitho_url="https://peitho:1",
    user=500,
    users={},
    requests={},
    limits={},
)
TOKENS = DeliveryTokens(b"k" * 32)
CA = "the certificate of Peitho's CA"
AT = "2026-01-02T03:04:05Z"
RUNNING = {"running": {"startedAt": AT}}


def done(code: int, **more: str) -> Manifest:
    """A container that ran and has ended."""
    reason = "Error" if code else "Completed"
    return {"terminated": {"exitCode": code, "reason": reason, "startedAt": AT} | more}


def told(
    build: Manifest = RUNNING,
    helper: Manifest = RUNNING,
    kind: str = "MODIFIED",
    metadata: Manifest | None = None,
    **more: Any,
) -> Script:
    """A watch that tells of the build's Pod once."""
    states = {records.BUILD: build, build_pod.HELPER: helper}
    statuses = [
        {"name": name, "image": "i:1", "imageID": f"{name}@sha256:1", "state": state}
        for name, state in states.items()
    ]
    named = {
        "name": NAME,
        "labels": {labels.CONTAINER: labels.container_label(ID)},
        "resourceVersion": "7",
    }
    status = {"containerStatuses": statuses} | more
    body = {"metadata": named | (metadata or {}), "status": status}
    return watch({"type": kind, "object": body})


class Scene:
    """A build in a Pod: the cluster, the run, and what carries it out."""

    def __init__(self, cluster: ApiServer, backend: PodBackend, run: Build) -> None:
        self.cluster = cluster
        self.backend = backend
        self.run = run

    async def carry_out(self) -> tuple[int, str]:
        """From start to end; the run's exit code and reason."""
        await self.backend.carry_out(self.run)
        state = self.run.state
        assert state is not None
        return state.exit_code, state.reason

    async def said(self) -> bytes:
        """All that the run says."""
        return b"".join(
            [data async for _, data in self.run.output.read(OutputOptions(follow=True))]
        )

    async def make(self) -> None:
        """Let the helper bring the result."""
        await self.run.save_result(chunks(package()), "amd64")

    def posted(self, kind: str) -> Manifest:
        """The object that was created."""
        (body,) = [each[3] for each in self.cluster.requests if each[:2] == ("POST", kind)]
        return dict(json.loads(body))


@asynccontextmanager
async def scene(
    tmp_path: Path, *news: Script, seconds: float = 10, made_with: PodOptions = SETTINGS
) -> AsyncIterator[Scene]:
    """All that a build needs; the watch of Pods tells these news one by one, and then nothing."""
    async with (
        ApiServer.start() as cluster,
        cluster.client(tmp_path) as kubernetes,
        asyncio.TaskGroup() as group,
    ):
        cluster.script("WATCH", "pods", *news)
        pods = PodWatch(kubernetes, labels={})
        task = group.create_task(pods.run())
        options = PodBackendOptions(made_with, start_timeout_seconds=seconds, deadline_seconds=900)
        backend = PodBackend(
            kubernetes,
            pods,
            tokens=TOKENS,
            ca=CA,
            owner="me",
            options=options,
            account_secrets=AccountSecrets(kubernetes),
        )
        directory = tmp_path / "run"
        directory.mkdir()
        output = BuildOutput.create(directory / "log", limit_bytes=1_000_000)
        uploads = (BuildUpload("/chaincode/input", tmp_path / "none", "tree"),)
        run = Build(
            ID, SPEC, directory=directory, output=output, uploads=uploads, result_bytes=10**6
        )
        try:
            yield Scene(cluster, backend, run)
        finally:
            task.cancel()
            await run.discard()
