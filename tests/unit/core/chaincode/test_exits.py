"""What is kept of a chaincode's end, as a watch against a double of the API server tells of it."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import stamina
import structlog.testing

from peitho.clients.kubernetes.pod_watch import PodWatch, Sighting
from peitho.clients.kubernetes.records import Records
from peitho.core.chaincode.exits import ExitRecorder
from peitho.core.tasks import BackgroundTasks
from peitho.formats import records
from peitho.formats.kubernetes import labels, record_secrets
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.records import ContainerSpec, Exit
from tests.support import typed
from tests.support.counted import Counted
from tests.support.kubernetes_double import ApiServer, always, answer, refusal, watch
from tests.support.kubernetes_double import after as later

ID = "a" * 64
NAME = "dev-peer0-mycc-1.0"
AT = "2026-01-02T03:04:05Z"
RUNNING = {"running": {"startedAt": AT}}
ENDED = {
    "terminated": {
        "exitCode": 3,
        "reason": "OOMKilled",
        "startedAt": AT,
        "finishedAt": AT,
        "message": "first\nlast words\n",
    }
}
CLEAN = {"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": AT}}
END = Exit(3, "OOMKilled", AT, "first\nlast words")


def record(container_id: str = ID) -> Manifest:
    """The Secret of a container, as the cluster has it."""
    spec = ContainerSpec(image="mycc", command=("chaincode",), entrypoint=(), env=())
    found = record_secrets.chaincode_secret(
        instance="mine", container_id=container_id, name=NAME, spec=spec, token="", created=AT
    )
    found["metadata"] |= {"uid": f"uid-{container_id[0]}"}
    return found


PATH = f"secrets/{record()['metadata']['name']}"


def told(version: int, state: Manifest, event: str = "MODIFIED", **more: Any) -> Manifest:
    """News of the container's Pod."""
    metadata = {
        "name": "p",
        "labels": labels.container_labels("mine", records.CHAINCODE, ID),
        "annotations": {labels.ID: ID, labels.NAME: NAME},
        "resourceVersion": str(version),
        "ownerReferences": [{"kind": "Job", "name": "cc-mycc-aaaaaaaa", "uid": "uid-job"}],
    }
    statuses = [{"name": records.CHAINCODE, "state": state}]
    body = {"metadata": metadata | more, "status": {"containerStatuses": statuses}}
    return {"type": event, "object": body}


def is_at(sighting: Sighting, version: str) -> bool | None:
    """Whether a Pod was told of at a version; None while it was not."""
    pod = sighting.pod
    return (pod is not None and pod.resource_version == version) or None


async def after(tmp_path: Path, server: ApiServer, *news: Manifest) -> ApiServer:
    """The cluster, after all of the news were told, and all that they led to was done."""
    server.script("WATCH", "pods", watch(*news, stay=True))
    for _ in news:
        server.script("POST", "events", always(lambda: answer({}, status=201)))
    last = news[-1]["object"]["metadata"]
    async with server.client(tmp_path) as kubernetes, asyncio.TaskGroup() as group:
        cache = PodWatch(kubernetes, labels={})
        recorder = ExitRecorder(kubernetes, cache, instance="mine", tasks=BackgroundTasks(group))
        recording = group.create_task(recorder.run(), name="exit recorder")
        task = group.create_task(cache.run(), name="pod watch")
        key = last["labels"][labels.CONTAINER]
        await typed.seen(cache, key, lambda seen: is_at(seen, last["resourceVersion"]))
        task.cancel()
        recording.cancel()
    return server


def noted(server: ApiServer) -> Exit | None:
    """The end that is on the container's record."""
    return typed.noted_exit(server.objects[PATH])


def events(server: ApiServer) -> list[Manifest]:
    """The Events that were made."""
    return [
        json.loads(body)
        for method, kind, _, body in server.requests
        if (method, kind) == ("POST", "events")
    ]


class TestAnEnd:
    async def test_it_is_on_the_record_and_an_event(self, tmp_path: Path) -> None:
        """
        Code, reason, time and last words; the Event is of the Job, and the log has its name.
        """
        async with ApiServer.start() as server:
            server.objects[PATH] = record()
            with structlog.testing.capture_logs() as logs:
                await after(tmp_path, server, told(1, RUNNING), told(2, ENDED))

        assert END == noted(server)
        (event,) = events(server)
        assert ("ChaincodeEnded", "Warning") == (event["reason"], event["type"])
        assert "The chaincode ended with exit code 3: OOMKilled" == event["message"]
        about = event["involvedObject"]
        assert "mine" == event["metadata"]["labels"]["peitho/instance"]
        assert ("Job", "cc-mycc-aaaaaaaa", "uid-job", "ns") == tuple(
            about[key] for key in ("kind", "name", "uid", "namespace")
        )
        assert [("chaincode ended", NAME, 3, "OOMKilled")] == [
            (each["event"], each["name"], each["exit_code"], each["reason"]) for each in logs
        ]

    async def test_what_the_process_said_is_on_its_record_alone(self, tmp_path: Path) -> None:
        """
        A chaincode may say a secret: neither the Event nor the log has it.
        """
        async with ApiServer.start() as server:
            server.objects[PATH] = record()
            with structlog.testing.capture_logs() as logs:
                await after(tmp_path, server, told(1, ENDED))

        assert "last words" not in json.dumps(events(server)) + repr(logs)

    async def test_it_is_noted_once(self, tmp_path: Path) -> None:
        """
        However often its Pod is told of.
        """
        news = [told(1, ENDED), told(2, ENDED), told(3, ENDED), told(4, ENDED, "DELETED")]
        async with ApiServer.start() as server:
            server.objects[PATH] = record()
            await after(tmp_path, server, *news)

        assert END == noted(server)
        assert (1, 1) == (server.count("PATCH", PATH), len(events(server)))

    async def test_a_removal_after_it_is_no_second_end(self, tmp_path: Path) -> None:
        """
        With the record goes the Pod, and the end was told before.
        """
        gone = asyncio.Event()
        news = (told(1, ENDED), told(2, ENDED, "DELETED"))
        async with ApiServer.start() as server:
            server.objects[PATH] = record()
            server.script("WATCH", "pods", watch(news[0]), later(gone, watch(news[1], stay=True)))
            async with asyncio.TaskGroup() as group:
                task = group.create_task(after(tmp_path, server, *news))
                await server.until_asked("POST", "events")
                del server.objects[PATH]
                gone.set()
            await task

        assert 1 == len(events(server))

    async def test_one_that_an_earlier_run_noted_stays_as_it_is(self, tmp_path: Path) -> None:
        """
        The Pod is told of anew at each start.
        """
        earlier = Exit(7, "earlier", AT)
        async with ApiServer.start() as server:
            server.objects[PATH] = record()
            note = record_secrets.exit_note(earlier, finished_at=AT)
            server.objects[PATH]["metadata"]["annotations"][labels.EXIT] = note
            await after(tmp_path, server, told(1, ENDED))

        assert earlier == noted(server)
        assert [] == events(server)

    async def test_a_pod_that_vanished_was_killed(self, tmp_path: Path) -> None:
        """
        Then the time is that of the news.
        """
        async with ApiServer.start() as server:
            server.objects[PATH] = record()
            await after(tmp_path, server, told(1, RUNNING), told(2, RUNNING, "DELETED"))

        end = noted(server)
        assert end is not None
        assert (137, "the Pod was deleted") == (end.code, end.reason)
        assert end.finished_at > AT

    async def test_one_by_its_own_will_is_no_warning(self, tmp_path: Path) -> None:
        """
        Exit code 0.
        """
        async with ApiServer.start() as server:
            server.objects[PATH] = record()
            await after(tmp_path, server, told(1, CLEAN))

        assert [("Normal", "The chaincode ended with exit code 0")] == [
            (each["type"], each["message"]) for each in events(server)
        ]

    async def test_a_copy_of_its_pod_is_nobodys(self, tmp_path: Path) -> None:
        """
        `kubectl debug --copy-to` makes one, with all of its labels and without its Job.
        """
        copy = told(2, CLEAN, "ADDED", name="copy", uid="copy", ownerReferences=[])
        async with ApiServer.start() as server:
            server.objects[PATH] = record()
            await after(tmp_path, server, told(1, RUNNING), copy, told(3, ENDED))

        assert END == noted(server)
        assert 1 == len(events(server))


@pytest.mark.parametrize(
    ("state", "event", "expected"),
    [
        (CLEAN, "MODIFIED", "not started"),
        ({"terminated": CLEAN["terminated"] | {"startedAt": AT}}, "MODIFIED", "completed"),
        ({"terminated": {"exitCode": 2, "startedAt": AT}}, "MODIFIED", "failed"),
        (ENDED, "MODIFIED", "out of memory"),
        (RUNNING, "DELETED", "deleted"),
    ],
)
async def test_ends_are_counted_by_class(
    tmp_path: Path, state: Manifest, event: str, expected: str
) -> None:
    """
    Once each, however often the Pod is told of.
    """
    ends = Counted("peitho_chaincode_exits_total", "class")
    async with ApiServer.start() as server:
        server.objects[PATH] = record()
        await after(tmp_path, server, told(1, state), told(2, state, event))

    assert {expected: 1} == ends.grown


async def test_an_end_that_was_asked_for_is_a_stop(tmp_path: Path) -> None:
    """
    Whatever its exit code, but not one for want of memory.
    """
    ends = Counted("peitho_chaincode_exits_total", "class")
    async with (
        ApiServer.start() as server,
        server.client(tmp_path) as kubernetes,
        asyncio.TaskGroup() as group,
    ):
        server.objects[PATH] = record()
        recorder = ExitRecorder(
            kubernetes,
            PodWatch(kubernetes, labels={}),
            instance="mine",
            tasks=BackgroundTasks(group),
        )
        recorder.expect(labels.container_label(ID))
        found = record_secrets.read(server.objects[PATH])
        assert isinstance(found, records.Record)
        await recorder.record(found, Exit(137, "the Pod was deleted", AT), job=None)

    assert {"stopped": 1} == ends.grown


class TestNobodysEnd:
    async def test_a_new_container_of_the_name_is_left_alone(self, tmp_path: Path) -> None:
        """
        The end is the earlier one's, whose Job still gets its Event.
        """
        async with ApiServer.start() as server:
            server.objects[PATH] = record("b" * 64)
            await after(tmp_path, server, told(1, ENDED))

        assert noted(server) is None
        assert (0, 1) == (server.count("PATCH", PATH), len(events(server)))

    async def test_a_container_that_was_removed_meanwhile_is_let_be(self, tmp_path: Path) -> None:
        """
        Another has its name by now, says the API server: it is not asked again.
        """
        async with ApiServer.start() as server:
            server.objects[PATH] = record()
            server.script("PATCH", PATH, always(lambda: refusal(409, "Conflict", "uid")))
            await after(tmp_path, server, told(1, ENDED))

        assert (1, 0) == (server.count("PATCH", PATH), len(events(server)))

    async def test_a_build_has_no_record_of_its_end(self, tmp_path: Path) -> None:
        """
        Nor a Pod that is still running.
        """
        own = labels.container_labels("mine", records.BUILD, "b" * 64)
        build = told(2, ENDED, name="build-bbbbbbbbbbbb", labels=own)
        async with ApiServer.start() as server:
            server.objects[PATH] = record()
            await after(tmp_path, server, told(1, RUNNING), build)

        assert noted(server) is None
        assert 0 == server.count("GET", PATH) == server.count("PATCH", PATH)


AWAY = {
    "hangs up": watch(dies=True),
    "is overloaded": always(lambda: refusal(429, "TooManyRequests", "try again later")),
    "has lost its store": always(lambda: refusal(500, "InternalError", "etcdserver: no leader")),
    "shuts down": always(lambda: refusal(503, "ServiceUnavailable", "shutting down")),
    "has no right yet": always(lambda: refusal(403, "Forbidden", "User x cannot patch")),
}


@pytest.fixture
def _no_pauses() -> Iterator[None]:
    """Whatever is tried again is tried at once."""
    with stamina.set_testing(testing=True, attempts=100):
        yield


@pytest.mark.usefixtures("_no_pauses")
@pytest.mark.parametrize("away", AWAY)
class TestAnApiServerThat:
    @pytest.mark.parametrize("method", ["GET", "PATCH"])
    async def test_is_asked_again(self, tmp_path: Path, method: str, away: str) -> None:
        """
        Until it is back; the end is then noted and told, once.
        """
        async with ApiServer.start() as server:
            server.objects[PATH] = record()
            server.script(method, PATH, AWAY[away], AWAY[away])
            await after(tmp_path, server, told(1, ENDED))

        assert END == noted(server)
        assert (3, 1) == (server.count(method, PATH), len(events(server)))

    async def test_is_told_the_event_again(self, tmp_path: Path, away: str) -> None:
        """
        Though the end is on the record by then.
        """
        async with ApiServer.start() as server:
            server.objects[PATH] = record()
            server.script("POST", "events", AWAY[away])
            await after(tmp_path, server, told(1, ENDED))

        assert (1, 2) == (server.count("PATCH", PATH), len(events(server)))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (403, "User x cannot patch"),
        (409, "the object has been modified; please apply your changes"),
    ],
)
async def test_an_end_is_noted_however_long_it_is_refused(
    tmp_path: Path, code: int, words: str
) -> None:
    """
    Rights come back, and whoever wrote at the same moment has written.
    """
    async with ApiServer.start() as server:
        server.objects[PATH] = record()
        refused = always(lambda: refusal(code, "Forbidden" if code == 403 else "Conflict", words))
        server.script("PATCH", PATH, *[refused] * 15)
        await after(tmp_path, server, told(1, ENDED))

    assert END == noted(server)


async def test_an_end_is_kept_on_exactly_one_container(tmp_path: Path) -> None:
    """
    With the record's uid, so that the API server refuses it for another of the same name.
    """
    async with ApiServer.start() as server, server.client(tmp_path) as kubernetes:
        server.objects[PATH] = record()
        await Records(kubernetes).note_exit(typed.metadata(record()), END, finished_at=AT)

    assert "uid-a" == json.loads(server.requests[-1][3])["metadata"]["uid"]
    assert END == noted(server)
