import json
from pathlib import Path

import pytest

from peitho.errors import InvalidArgument, NotFound
from peitho.formats.records import Exit
from peitho.operators.chaincode import Cluster
from tests.support.former import earlier
from tests.support.kubernetes_double import ApiServer
from tests.support.operated import AT, ENDED, PACKAGE, PULLING, RUNNING, add, operate


async def test_each_chaincode_is_a_row(tmp_path: Path) -> None:
    """
    In the order of names, with what a night on call asks for.
    """
    async with ApiServer.start() as cluster:
        add(cluster, "runs", "a" * 64, state=RUNNING)
        add(cluster, "ends", "b" * 64, state=ENDED)
        add(cluster, "is-over", "c" * 64, end=Exit(7, "Evicted: no room", AT, "last words"))
        add(cluster, "pulls", "d" * 64, state=PULLING)
        add(cluster, "new", "e" * 64)
        add(cluster, "foreign", "f" * 64, instance="another")
        shown = await operate(cluster, tmp_path, "ps", "-o", "json")
        table = await operate(cluster, tmp_path, "ps", "--output", "wide")

    rows = {row["name"]: row for row in json.loads(shown.stdout)}
    assert ["ends", "is-over", "new", "pulls", "runs"] == list(rows)
    assert [
        ("exited", 3, "OOMKilled"),
        ("exited", 7, "Evicted: no room"),
        ("created", None, ""),
        ("starting", None, "ErrImagePull: i: not found"),
        ("running", None, ""),
    ] == [(row["phase"], row["exitCode"], row["reason"]) for row in rows.values()]
    runs = rows["runs"]
    assert (PACKAGE, "Org1MSP", "peer0.org1:7052") == (runs["package"], runs["mspId"], runs["peer"])
    assert ("node-1", AT, "image-runs") == (runs["node"], runs["started"], runs["image"])
    assert 6 == len(table.stdout.splitlines())
    assert "node-1" in table.stdout


async def test_chaincode_of_an_earlier_peitho_is_a_row(tmp_path: Path) -> None:
    """
    Before its labels are those of today.
    """
    async with ApiServer.start() as cluster:
        add(cluster, "runs", "a" * 64, state=RUNNING)
        cluster.objects.update({path: earlier(made) for path, made in cluster.objects.items()})
        add(cluster, "foreign", "f" * 64, instance="another")
        shown = await operate(cluster, tmp_path, "ps", "-o", "json")

    (row,) = json.loads(shown.stdout)
    assert ("runs", "running") == (row["name"], row["phase"])


async def test_a_damaged_record_is_a_row_of_its_own(tmp_path: Path) -> None:
    """
    It spoils no other, and says what is wrong with it.
    """
    async with ApiServer.start() as cluster:
        add(cluster, "runs", "a" * 64, state=RUNNING)
        damaged = add(cluster, "bad", "b" * 64)
        del damaged["metadata"]["annotations"]
        shown = await operate(cluster, tmp_path, "ps", "-o", "json")

    rows = {row["phase"]: row for row in json.loads(shown.stdout)}
    assert {"running", "damaged"} == rows.keys()
    assert damaged["metadata"]["name"] == rows["damaged"]["name"]
    assert rows["damaged"]["reason"]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("dev-peer0-a-1", "dev-peer0-a-1"),
        ("a" * 64, "dev-peer0-a-1"),
        ("aaaa", "dev-peer0-a-1"),
        ("a-12", "dev-peer0-a-12"),
        ("b-1", "dev-peer0-b-1"),
    ],
)
async def test_one_is_found_by_what_people_have(tmp_path: Path, asked: str, found: str) -> None:
    """
    The whole name before a part of others.
    """
    async with ApiServer.start() as server, server.client(tmp_path) as kubernetes:
        for name, digit in (
            ("dev-peer0-a-1", "a"),
            ("dev-peer0-a-12", "c"),
            ("dev-peer0-b-1", "d"),
        ):
            add(server, name, digit * 64)

        assert found == (await Cluster.of(kubernetes, "peitho").find(asked)).name


async def test_what_is_not_there_or_not_clear_is_told(tmp_path: Path) -> None:
    """
    With what there is to choose from, and where else to look.
    """
    async with ApiServer.start() as server, server.client(tmp_path) as kubernetes:
        add(server, "a-1", "a" * 64)
        add(server, "a-2", "b" * 64)
        cluster = Cluster.of(kubernetes, "peitho")
        with pytest.raises(InvalidArgument, match=r"^a- may be any of 2: a-1, a-2$"):
            await cluster.find("a-")
        with pytest.raises(NotFound, match=r"^No chaincode c in namespace ns: .* -n, .*--instance"):
            await cluster.find("c")


def event(name: str, kind: str, about: str, at: str) -> dict[str, object]:
    """An Event, as the cluster has it."""
    return {
        "metadata": {"name": name},
        "involvedObject": {"kind": kind, "name": about},
        "reason": name.title(),
        "message": f"of {about}",
        "type": "Warning",
        "lastTimestamp": at,
    }


async def test_events_are_those_of_our_objects(tmp_path: Path) -> None:
    """
    The oldest first: of a Job, of its Pod, of the Secret and of builds; of one if it is named.
    """
    async with ApiServer.start() as cluster:
        secret = add(cluster, "runs", "a" * 64, state=RUNNING)["metadata"]["name"]
        other = add(cluster, "other", "b" * 64, state=RUNNING)["metadata"]["name"]
        job = f"{secret}-aaaaaaaa"
        told = [
            event("scheduled", "Pod", f"{job}-abcde", "2026-01-02T03:04:07Z"),
            event("created", "Job", job, "2026-01-02T03:04:06Z"),
            event("foreign", "Pod", "peer0-0", "2026-01-02T03:04:06Z"),
            event("other", "Job", f"{other}-bbbbbbbb", "2026-01-02T03:04:08Z"),
            event("built", "Pod", "build-0123456789ab", "2026-01-02T03:04:09Z"),
        ]
        cluster.objects.update({f"events/{each['reason']}": each for each in told})
        of_all = await operate(cluster, tmp_path, "events", "-o", "json")
        of_one = await operate(cluster, tmp_path, "events", "runs")

    reasons = [row["reason"] for row in json.loads(of_all.stdout)]
    assert ["Created", "Scheduled", "Other", "Built"] == reasons
    lines = of_one.stdout.splitlines()
    assert [f"Job/{job}", f"Pod/{job}-abcde"] == [line.split()[3] for line in lines[1:]]
