"""Objects of an earlier Peitho, before a double of the API server."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import structlog.testing
from aiohttp import web

from peitho.clients.kubernetes.api import Kubernetes
from peitho.clients.kubernetes.pod_watch import PodWatch
from peitho.clients.kubernetes.records import Records
from peitho.core.relabelling import Relabelling, look
from peitho.formats.kubernetes import labels
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.records import CHAINCODE
from tests.support import manifests
from tests.support.former import earlier
from tests.support.kubernetes_double import ApiServer, always, refusal

OWN = labels.kind_labels("peitho", CHAINCODE)
RECORDS = tuple(f"secrets/cc-{number}" for number in range(8))


@asynccontextmanager
async def following(tmp_path: Path) -> AsyncIterator[tuple[ApiServer, Kubernetes, PodWatch]]:
    """A cluster, a client, and a watch of the Pods that has not begun."""
    async with ApiServer.start() as server, server.client(tmp_path) as kubernetes:
        yield server, kubernetes, PodWatch(kubernetes, labels=labels.own_labels("peitho"))


def put(server: ApiServer, path: str, made: Manifest) -> None:
    """Keep an object under a name of its own, made by an earlier Peitho."""
    name = path.partition("/")[2]
    found = earlier(made)
    server.version += 1
    server.make(path, found | {"metadata": found["metadata"] | {"name": name}})


def found_labels(server: ApiServer, path: str) -> Mapping[str, str]:
    """The labels that an object has by now."""
    own: Mapping[str, str] = server.objects[path]["metadata"]["labels"]
    return own


def job(*, active: int) -> Manifest:
    """The Job of a chaincode, and how many Pods it has."""
    return manifests.job(manifests.record()) | {"status": {"active": active}}


def pod(name: str) -> Manifest:
    """The running Pod of a chaincode."""
    made = manifests.job(manifests.record())["spec"]["template"]
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "cc-01234567", "uid": "u"}
    own = {"name": name, "ownerReferences": [owner], "creationTimestamp": "2026-01-02T03:04:05Z"}
    return {
        "metadata": made["metadata"] | own,
        "spec": {},
        "status": {"phase": "Running"},
    }


async def test_all_kinds_get_the_labels_of_today(tmp_path: Path) -> None:
    """
    And keep what else they have; what is another's keeps all.
    """
    async with following(tmp_path) as (server, kubernetes, _):
        put(server, "secrets/cc", manifests.record())
        put(server, "jobs/cc", job(active=1))
        put(server, "pods/cc", pod("cc"))
        put(server, "secrets/theirs", manifests.record())
        theirs = server.objects["secrets/theirs"]["metadata"]["labels"]
        theirs |= labels.former_labels("another")
        before = dict(theirs)
        await Relabelling(kubernetes, "peitho").run()

        for path in ("secrets/cc", "jobs/cc", "pods/cc"):
            own = found_labels(server, path)
            assert [] == [key for key in own if not key.startswith("peitho/")]
            assert OWN.items() <= own.items()
        assert manifests.record()["metadata"]["labels"] == found_labels(server, "secrets/cc")
        assert before == theirs


async def test_nothing_is_changed_where_nothing_is_of_an_earlier_one(tmp_path: Path) -> None:
    """
    Each kind is asked for once, for one object at most.
    """
    async with following(tmp_path) as (server, kubernetes, _):
        server.make("secrets/cc", manifests.record())
        await Relabelling(kubernetes, "peitho").run()

        assert [("GET", kind) for kind in ("secrets", "jobs", "pods")] == [
            each[:2] for each in server.requests
        ]
        assert {"1"} == {query["limit"] for _, _, query, _ in server.requests}


async def test_what_is_not_relabelled_yet_is_known_all_the_same(tmp_path: Path) -> None:
    """
    Records and Pods, in lists and by the watch, and nothing of another Peitho.
    """
    async with following(tmp_path) as (server, kubernetes, pods), asyncio.TaskGroup() as group:
        put(server, "secrets/cc", manifests.record())
        put(server, "pods/cc", pod("cc"))
        foreign = manifests.record()
        foreign["metadata"]["labels"][labels.INSTANCE] = "another"
        server.make("secrets/theirs", foreign)
        assert ["Secret", "Pod"] == await look(kubernetes, "peitho")
        task = group.create_task(pods.run())
        await pods.synced.wait()

        (record,) = await Records(kubernetes).find(OWN)
        assert labels.are_own(record.labels, "peitho")
        key = labels.container_label(record.id)
        assert pods.see(key).pod

        other = pod("theirs")
        other["metadata"]["labels"] |= {labels.INSTANCE: "another", labels.CONTAINER: "b" * 32}
        relabelled = pod("cc")
        for version, each in (("20", other), ("21", relabelled)):
            each["metadata"]["resourceVersion"] = version
            await server.news.put({"type": "MODIFIED", "object": each})
        relabelled["status"]["phase"] = "Failed"
        async for sighting in pods.sightings(key):
            if sighting.pod and sighting.pod.has_ended:
                break
        assert not pods.see("b" * 32).pod
        task.cancel()


async def test_a_pod_that_comes_late_is_known(tmp_path: Path) -> None:
    """
    Its Job, made by an earlier Peitho, waited for a quota; the next start knows of it as well.
    """
    async with following(tmp_path) as (server, kubernetes, pods), asyncio.TaskGroup() as group:
        put(server, "secrets/cc", manifests.record())
        put(server, "jobs/cc", job(active=0))
        relabelling = Relabelling(kubernetes, "peitho")
        task = group.create_task(relabelling.run())
        await server.until_asked("GET", "jobs", times=4)
        assert not labels.own_labels("peitho").items() <= found_labels(server, "jobs/cc").items()
        watching = group.create_task(pods.run())
        await pods.synced.wait()

        put(server, "pods/cc", pod("cc"))
        await server.news.put({"type": "ADDED", "object": server.objects["pods/cc"]})
        async for sighting in pods.sightings(labels.container_label(manifests.ID)):
            if sighting.pod:
                break
        server.objects["jobs/cc"]["status"]["active"] = 1
        await task
        watching.cancel()

        for path in ("jobs/cc", "pods/cc"):
            assert labels.own_labels("peitho").items() <= found_labels(server, path).items()


async def test_one_that_is_refused_keeps_no_other(tmp_path: Path) -> None:
    """
    It is tried again, and told once.
    """
    async with following(tmp_path) as (server, kubernetes, _), asyncio.TaskGroup() as group:
        for path in RECORDS:
            put(server, path, manifests.record())
        denied = 'admission webhook "w" denied the request'
        server.rule("PATCH", RECORDS[0], always(lambda: refusal(403, "Forbidden", denied)))
        with structlog.testing.capture_logs() as told:
            task = group.create_task(Relabelling(kubernetes, "peitho").run())
            await server.until_asked("PATCH", RECORDS[0], times=4)
            assert not task.done()
            del server.rules["PATCH", RECORDS[0]]
            await task

    warnings = [each for each in told if each["log_level"] == "warning"]
    assert [f"cc-0: {denied}"] == [each["cause"] for each in warnings]
    for path in RECORDS:
        assert OWN.items() <= found_labels(server, path).items()


async def test_without_the_right_few_are_tried(tmp_path: Path) -> None:
    """
    All are known by their former labels meanwhile, and the next round begins with others.
    """
    async with following(tmp_path) as (server, kubernetes, _), asyncio.TaskGroup() as group:
        for path in RECORDS:
            put(server, path, manifests.record())
            server.rule("PATCH", path, always(lambda: refusal(403, "Forbidden", "no right")))
        task = group.create_task(Relabelling(kubernetes, "peitho").run())
        await server.until_asked("PATCH", RECORDS[-1])
        task.cancel()

        patched = [path for method, path, *_ in server.requests if method == "PATCH"]
        assert list(RECORDS) == list(dict.fromkeys(patched))
        assert len(RECORDS) == len(await kubernetes.find("Secret", labels=OWN))


async def test_what_vanished_meanwhile_is_no_fault(tmp_path: Path) -> None:
    """
    Nor one whose name is another's by now.
    """
    async with following(tmp_path) as (server, kubernetes, _):
        for path in RECORDS[:2]:
            put(server, path, manifests.record())

        async def gone(request: web.Request) -> web.StreamResponse:
            del server.objects[f"secrets/{request.path.rpartition('/')[2]}"]
            is_first = request.path.endswith(RECORDS[0])
            return refusal(404, "NotFound", "") if is_first else refusal(409, "Conflict", "uid")

        for path in RECORDS[:2]:
            server.rule("PATCH", path, gone)
        with structlog.testing.capture_logs() as told:
            await Relabelling(kubernetes, "peitho").run()

        assert [] == [each for each in told if each["log_level"] == "warning"]


async def test_a_cluster_that_does_not_tell_hides_nothing(tmp_path: Path) -> None:
    """
    Former labels are expected then, and looked for again.
    """
    async with following(tmp_path) as (server, kubernetes, _), asyncio.TaskGroup() as group:
        put(server, "secrets/cc", manifests.record())
        server.rule("GET", "secrets", always(lambda: refusal(403, "Forbidden", "not yet")))
        relabelling = Relabelling(kubernetes, "peitho")
        task = group.create_task(relabelling.run())
        await relabelling.looked.wait()
        del server.rules["GET", "secrets"]

        assert 1 == len(await kubernetes.find("Secret", labels=OWN))
        await task
        assert OWN.items() <= found_labels(server, "secrets/cc").items()


async def test_an_answer_that_cannot_be_read_keeps_no_watch_waiting(tmp_path: Path) -> None:
    """
    As a proxy's page: all are known by both labels then, and are relabelled later.
    """

    async def page(_: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>", content_type="text/html")

    async with following(tmp_path) as (server, kubernetes, _):
        put(server, "secrets/cc", manifests.record())
        server.script("GET", "secrets", page)
        relabelling = Relabelling(kubernetes, "peitho")
        await relabelling.run()

        assert relabelling.looked.is_set()
        assert labels.own_labels("peitho").items() <= found_labels(server, "secrets/cc").items()


async def test_a_conflict_of_the_moment_makes_nothing_anothers(tmp_path: Path) -> None:
    """
    It keeps its former labels until it is tried again.
    """
    words = "Operation cannot be fulfilled: the object has been modified; please try again"
    async with following(tmp_path) as (server, kubernetes, _):
        put(server, "secrets/cc", manifests.record())
        server.script("PATCH", "secrets/cc", always(lambda: refusal(409, "Conflict", words)))
        await Relabelling(kubernetes, "peitho").run()

        assert labels.own_labels("peitho").items() <= found_labels(server, "secrets/cc").items()
