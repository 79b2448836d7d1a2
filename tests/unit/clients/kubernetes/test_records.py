"""Records as they are kept in the cluster, before a double of the API server."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog.testing

from peitho.clients.kubernetes.api import KubernetesError
from peitho.clients.kubernetes.records import Records
from peitho.errors import PeithoError
from peitho.formats.kubernetes import labels
from peitho.formats.records import CHAINCODE, DamagedRecord, Exit
from tests.support import typed
from tests.support.kubernetes_double import ApiServer, always, answer, refusal
from tests.support.manifests import CRT, KEY, record

AT = "2026-01-02T03:04:05Z"
PATH = f"secrets/{record()['metadata']['name']}"
OWN = labels.kind_labels("peitho", CHAINCODE)


@asynccontextmanager
async def records(tmp_path: Path) -> AsyncIterator[tuple[Records, ApiServer]]:
    """The records of a namespace, and the cluster."""
    async with ApiServer.start() as server, server.client(tmp_path) as kubernetes:
        yield Records(kubernetes), server


async def test_a_record_is_read_as_it_was_created(tmp_path: Path) -> None:
    """
    The API server has given it a uid and a version by then.
    """
    async with records(tmp_path) as (found, _):
        created = await found.create(record())

        assert created == await found.get(created.kubernetes_name)
        assert created.uid
        assert created.resource_version
        assert await found.get("cc-nobody") is None


async def test_files_are_added_to_the_version_that_was_read(tmp_path: Path) -> None:
    """
    What comes back has all of them.
    """
    async with records(tmp_path) as (found, server):
        created = await found.create(record())
        first = await found.add_files(created, {KEY: b"key"})
        second = await found.add_files(first, {CRT: b"crt"})

        assert {KEY, CRT} == set(second.files)
        assert [created.resource_version, first.resource_version] == [
            json.loads(body)["metadata"]["resourceVersion"]
            for method, _, _, body in server.requests
            if method == "PATCH"
        ]


async def test_an_exit_is_noted_on_exactly_one_record(tmp_path: Path) -> None:
    """
    With its uid, so that the API server refuses it for a later one of the same name.
    """
    async with records(tmp_path) as (found, server):
        created = await found.create(record())
        await found.note_exit(created, Exit(3, "OOMKilled"), finished_at=AT)

        assert created.uid == json.loads(server.requests[-1][3])["metadata"]["uid"]
        assert Exit(3, "OOMKilled", AT) == typed.noted_exit(server.objects[PATH])


async def test_a_list_has_all_but_the_damaged(tmp_path: Path) -> None:
    """
    Which are told in the log, by their names; whoever wants them too is given them.
    """
    damaged = record()
    damaged["metadata"] |= {"name": "cc-damaged", "annotations": {}}
    async with records(tmp_path) as (found, server):
        created = await found.create(record())
        server.objects["secrets/cc-damaged"] = damaged
        with structlog.testing.capture_logs() as logs:
            listed = await found.find(OWN)
            everything = await found.find_with_damaged(OWN)

    assert [created.id] == [each.id for each in listed]
    assert ["cc-damaged"] == [
        each.kubernetes_name for each in everything if isinstance(each, DamagedRecord)
    ]
    assert [("damaged record is left alone", "cc-damaged")] == [
        (each["event"], each["secret"]) for each in logs
    ]


async def test_a_record_is_there_until_another_has_its_name(tmp_path: Path) -> None:
    """
    Or it was removed.
    """
    async with records(tmp_path) as (found, server):
        created = await found.create(record())
        assert await found.is_there(created)
        server.objects[PATH]["metadata"]["uid"] = "another"
        assert not await found.is_there(created)
        del server.objects[PATH]
        assert not await found.is_there(created)


async def test_a_removal_is_of_exactly_one_record(tmp_path: Path) -> None:
    """
    And once it is gone, no error.
    """
    async with records(tmp_path) as (found, server):
        created = await found.create(record())
        await found.remove(created)
        await found.remove(created)

    bodies = [json.loads(body) for method, _, _, body in server.requests if method == "DELETE"]
    assert [{"uid": created.uid}] * 2 == [each["preconditions"] for each in bodies]


async def test_a_webhook_that_writes_on_a_new_record_is_told(tmp_path: Path) -> None:
    """
    And not found out later, by a launch.
    """
    changed = record() | {"data": {}}
    async with records(tmp_path) as (found, server):
        server.script("POST", "secrets", always(lambda: answer(changed, status=201)))
        with pytest.raises(PeithoError, match="did a webhook change it"):
            await found.create(record())


async def test_a_refusal_keeps_its_reason(tmp_path: Path) -> None:
    """
    Whoever calls decides by it.
    """
    async with records(tmp_path) as (found, server):
        server.script("POST", "secrets", always(lambda: refusal(403, "Forbidden", "quota")))
        with pytest.raises(KubernetesError, match="quota") as raised:
            await found.create(record())

    assert "Forbidden" == raised.value.reason
