"""The process of a chaincode container, as a double of the API server tells of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from peitho.clients.kubernetes.pod_watch import PodWatch
from peitho.core.chaincode import process
from peitho.core.chaincode.exits import ExitRecorder
from peitho.core.chaincode.process import ChaincodeProcess
from peitho.core.container import State
from peitho.core.tasks import BackgroundTasks
from peitho.formats import records
from peitho.formats.kubernetes import labels, record_secrets
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.records import ContainerSpec, Exit
from tests.support import typed
from tests.support.kubernetes_double import (
    ApiServer,
    Script,
    after,
    always,
    refusal,
    watch,
)

ID = "a" * 64
AT = "2026-01-02T03:04:05Z"
ENDED = {"terminated": {"exitCode": 3, "startedAt": AT, "finishedAt": AT}}
AWAY = always(lambda: refusal(503, "", "shutting down"))


def record() -> Manifest:
    """The Secret of a container, as the cluster has it."""
    spec = ContainerSpec(image="mycc", command=("chaincode",), entrypoint=(), env=())
    found = record_secrets.chaincode_secret(
        instance="mine", container_id=ID, name="dev-mycc", spec=spec, token="", created=AT
    )
    found["metadata"]["uid"] = "uid-secret"
    return found


def job(end: str = "") -> Manifest:
    """Its Job; `end` is the condition by which it is over."""
    condition = {"type": end, "status": "True", "lastTransitionTime": AT}
    return {
        "kind": "Job",
        "metadata": {"name": typed.job_name(record())},
        "status": {"conditions": [condition] if end else []},
    }


SECRET = f"secrets/{record()['metadata']['name']}"
JOB = f"jobs/{job()['metadata']['name']}"


def ended() -> Script:
    """News of its Pod, which has ended with 3."""
    own = labels.container_labels("mine", records.CHAINCODE, ID)
    owners = [typed.owner(record())]
    metadata = {"name": "p", "labels": own, "resourceVersion": "1", "ownerReferences": owners}
    statuses = [{"name": records.CHAINCODE, "state": ENDED}]
    pod = {"metadata": metadata, "status": {"containerStatuses": statuses}}
    return watch({"type": "ADDED", "object": pod}, stay=True)


@asynccontextmanager
async def looked_up(tmp_path: Path, server: ApiServer) -> AsyncIterator[ChaincodeProcess]:
    """The process of the container, whose Secret is there, while the Pods are watched."""
    server.objects.setdefault(SECRET, record())
    async with server.client(tmp_path) as kubernetes, asyncio.TaskGroup() as group:
        cache = PodWatch(kubernetes, labels={})
        tasks = BackgroundTasks(group)
        exits = ExitRecorder(kubernetes, cache, instance="mine", tasks=tasks)
        tasks.run(cache.run(), name="pod watch")
        await cache.synced.wait()
        async with asyncio.timeout(10):
            yield ChaincodeProcess(kubernetes, cache, exits, typed.metadata(record()))
        tasks.cancel()


async def test_what_was_never_started_is_no_end(tmp_path: Path) -> None:
    """
    Asked for its next exit, one that is only created waits for it, and its record stays as it is.
    """
    start = asyncio.Event()
    async with ApiServer.start() as server:
        server.script("WATCH", "pods", after(start, ended()))
        async with looked_up(tmp_path, server) as found, asyncio.TaskGroup() as group:
            waiting = group.create_task(found.wait("next-exit"))
            await server.until_asked("GET", SECRET)
            server.objects[JOB] = job()
            start.set()

        assert 3 == waiting.result().exit_code
        assert 0 == server.count("PATCH", SECRET)


async def test_without_a_condition_it_is_answered_at_once(tmp_path: Path) -> None:
    """
    As a daemon does.
    """
    async with ApiServer.start() as server, looked_up(tmp_path, server) as found:
        assert State("created") == await found.wait("")


@pytest.mark.parametrize(
    ("over", "code", "reason"),
    [("Failed", 137, "the Pod was deleted"), ("Complete", 0, "")],
)
async def test_a_job_that_is_over_and_has_no_pod_tells_what_it_can(
    tmp_path: Path, over: str, code: int, reason: str
) -> None:
    """
    Of what failed, the code is not known any more.
    """
    async with ApiServer.start() as server:
        server.objects[JOB] = job(over)
        async with looked_up(tmp_path, server) as found:
            state = await found.wait("")

        assert (code, reason) == (state.exit_code, state.reason)
        assert Exit(code, reason, AT) == typed.noted_exit(server.objects[SECRET])


@pytest.mark.parametrize("condition", ["", "removed", "next-exit"])
async def test_a_wait_outlasts_the_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, condition: str
) -> None:
    """
    It goes on while the API server is away, whatever it is for.
    """
    monkeypatch.setattr(process, "_LOOK_SECONDS", 0.01)
    async with ApiServer.start() as server:
        server.objects[JOB] = job()
        async with looked_up(tmp_path, server) as found, asyncio.TaskGroup() as group:
            waiting = group.create_task(found.wait(condition))
            looked = SECRET if condition == "removed" else JOB
            await server.until_asked("GET", looked)
            server.script("GET", looked, AWAY, AWAY)
            await server.until_asked("GET", looked, times=server.count("GET", looked) + 3)
            assert not waiting.done()
            if condition == "removed":
                del server.objects[SECRET]
            else:
                server.objects[JOB] = job("Failed")

        assert waiting.done()
