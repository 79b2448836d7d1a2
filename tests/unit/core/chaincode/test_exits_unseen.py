"""Ends that no watch told of, before a double of the API server."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from peitho.clients.kubernetes.pod_watch import PodWatch
from peitho.core.chaincode import exits
from peitho.core.chaincode.exits import ExitRecorder, unseen_exit
from peitho.core.tasks import BackgroundTasks
from peitho.formats import records
from peitho.formats.kubernetes import labels, record_secrets
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.records import ContainerSpec, Exit
from tests.support import typed
from tests.support.kubernetes_double import ApiServer, always, answer, refusal

ID = "a" * 64
AT = "2026-01-02T03:04:05Z"
OVER = [{"type": "Failed", "status": "True", "lastTransitionTime": AT}]
END = Exit(137, "the Pod was deleted", AT)


def record() -> Manifest:
    """The Secret of a container, as the cluster has it."""
    spec = ContainerSpec(image="mycc", command=("chaincode",), entrypoint=(), env=())
    found = record_secrets.chaincode_secret(
        instance="mine", container_id=ID, name="dev-mycc", spec=spec, token="", created=AT
    )
    found["metadata"]["uid"] = "uid-secret"
    return found


def job(*, over: bool = True) -> Manifest:
    """Its Job."""
    metadata = {
        "name": typed.job_name(record()),
        "uid": "uid-job",
        "labels": labels.container_labels("mine", records.CHAINCODE, ID),
    }
    return {"kind": "Job", "metadata": metadata, "status": {"conditions": OVER if over else []}}


def pod() -> Manifest:
    """Its Pod."""
    own = labels.container_labels("mine", records.CHAINCODE, ID)
    metadata = {"name": "p", "labels": own, "resourceVersion": "1"}
    return {"metadata": metadata | {"ownerReferences": [typed.owner(record())]}, "status": {}}


SECRET = f"secrets/{record()['metadata']['name']}"
JOB = f"jobs/{job()['metadata']['name']}"


def noted(server: ApiServer) -> Exit | None:
    """The end that is on the record."""
    return typed.noted_exit(server.objects[SECRET])


@asynccontextmanager
async def looking(tmp_path: Path, server: ApiServer) -> AsyncIterator[None]:
    """Peitho, which has just been started and lists what there is."""
    async with server.client(tmp_path) as kubernetes, asyncio.TaskGroup() as group:
        tasks = BackgroundTasks(group)
        watch = PodWatch(kubernetes, labels={})
        recorder = ExitRecorder(kubernetes, watch, instance="mine", tasks=tasks)
        tasks.run(recorder.run(), name="exit recorder")
        tasks.run(watch.run(), name="pod watch")
        yield
        tasks.cancel()


async def test_a_pod_that_went_meanwhile_has_an_end(tmp_path: Path) -> None:
    """
    On its record, with the time of its Job, and as an Event; though nobody waits for it.
    """
    async with ApiServer.start() as server:
        server.objects.update({SECRET: record(), JOB: job()})
        server.script("POST", "events", always(lambda: answer({}, status=201)))
        async with looking(tmp_path, server):
            await server.until_asked("POST", "events")

    assert END == noted(server)
    (event,) = [json.loads(body) for _, kind, _, body in server.requests if kind == "events"]
    assert ("ChaincodeEnded", "uid-job") == (event["reason"], event["involvedObject"]["uid"])


async def test_a_job_that_is_not_over_yet_is_looked_at_again(tmp_path: Path) -> None:
    """
    By itself and ever more seldom: one that is suspended may never have a Pod.
    """
    async with ApiServer.start() as server:
        server.objects.update({SECRET: record(), JOB: job(over=False)})
        async with looking(tmp_path, server):
            began = asyncio.get_running_loop().time()
            await server.until_asked("GET", JOB, times=9)
            assert noted(server) is None
            assert asyncio.get_running_loop().time() - began > 100
            server.objects[JOB] = job()
            await server.until_asked("PATCH", SECRET)

    assert END == noted(server)
    assert 0 == server.count("GET", "jobs")


@pytest.mark.parametrize("there", ["job", "pod", "end"])
async def test_what_has_another_end_is_left_alone(tmp_path: Path, there: str) -> None:
    """
    It was never started, its Pod tells by itself, or the end is known.
    """
    objects = {SECRET: record(), JOB: job(), "pods/p": pod()}
    if there == "job":
        objects = {SECRET: record()}
    if there == "end":
        objects = {SECRET: record(), JOB: job()}
        annotations = objects[SECRET]["metadata"]["annotations"]
        annotations[labels.EXIT] = record_secrets.exit_note(Exit(3), finished_at=AT)
    async with ApiServer.start() as server:
        server.objects.update(objects)
        async with looking(tmp_path, server):
            await server.until_asked("GET", "secrets")

    assert 0 == server.count("PATCH", SECRET)


async def test_an_api_server_that_cannot_be_reached_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    After a while, for the list of the Pods was the last that told of anything.
    """
    monkeypatch.setattr(exits, "_AGAIN_SECONDS", 0.01)
    async with ApiServer.start() as server:
        server.objects.update({SECRET: record(), JOB: job()})
        server.script("GET", "jobs", always(lambda: refusal(503, "", "stopping")))
        async with looking(tmp_path, server):
            await server.until_asked("PATCH", SECRET)

    assert END == noted(server)


@pytest.mark.parametrize(
    ("job_", "pods", "expected"),
    [
        (job(), [], END),
        (None, [], Exit(137, "the Pod was deleted")),
        (job(over=False), [], None),
        (job(), [pod()], None),
        (None, [pod()], None),
    ],
    ids=["over", "gone", "not over", "over, with a Pod", "gone, with a Pod"],
)
async def test_an_end_is_that_of_a_job_that_is_over_and_has_no_pod(
    tmp_path: Path, job_: Manifest | None, pods: list[Manifest], expected: Exit | None
) -> None:
    """
    The API server is asked: a watch may be silent and not know of the Pod yet.
    """
    async with ApiServer.start() as server, server.client(tmp_path) as kubernetes:
        server.objects.update({f"pods/{each['metadata']['name']}": each for each in pods})

        found = typed.job(job_) if job_ else None
        assert expected == await unseen_exit(kubernetes, found, typed.metadata(record()))


async def test_what_is_wrong_with_one_keeps_no_other_from_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A record that is damaged, and one that may not be changed.
    """
    monkeypatch.setattr(exits, "_LOOK_SECONDS", 0.01)
    damaged, forbidden = record(), record()
    damaged["metadata"]["name"], forbidden["metadata"]["name"] = "cc-a", "cc-b"
    damaged["metadata"]["annotations"][labels.EXIT] = "{"
    forbidden["metadata"]["annotations"][labels.ID] = "b" * 64
    other = job()
    other["metadata"] = other["metadata"] | {"name": typed.job_name(forbidden)}
    async with ApiServer.start() as server:
        server.objects.update({"secrets/cc-a": damaged, "secrets/cc-b": forbidden})
        server.objects.update({f"jobs/{other['metadata']['name']}": other})
        server.objects.update({SECRET: record(), JOB: job()})
        server.script("POST", "events", always(lambda: answer({}, status=201)))
        server.script("PATCH", "secrets/cc-b", always(lambda: refusal(422, "Invalid", "no")))
        async with looking(tmp_path, server):
            await server.until_asked("PATCH", SECRET)
            await server.until_asked("PATCH", "secrets/cc-b")

        assert END == noted(server)
        assert 1 == server.count("PATCH", "secrets/cc-b")
