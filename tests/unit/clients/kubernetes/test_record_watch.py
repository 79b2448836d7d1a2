"""The watched cache of records, before a double of the API server."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from peitho import audit
from peitho.clients.kubernetes.record_watch import KnownRecord, RecordWatch
from peitho.clients.kubernetes.records import Records
from peitho.formats.kubernetes import labels, record_secrets
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.records import CHAINCODE, DamagedRecord, Exit, Record, RecordMetadata
from tests.support import typed
from tests.support.kubernetes_double import ApiServer, watch
from tests.support.manifests import KEY, record
from tests.support.observe import until

OWN = labels.kind_labels("peitho", CHAINCODE)
NAME = record()["metadata"]["name"]
PATH = f"secrets/{NAME}"
AT = "2026-01-02T03:04:05Z"
# After this, what was written is not believed any more without a word of the watch.
LATER_SECONDS = 3.0
LIST, READ = ("GET", "secrets"), ("GET", PATH)


def known(version: int, **annotations: str) -> KnownRecord:
    """The record as the watch tells it at a version."""
    secret = record()
    notes = {f"peitho/{key}": value for key, value in annotations.items()}
    secret["metadata"]["annotations"] |= notes
    secret["metadata"]["resourceVersion"] = str(version)
    return record_secrets.read_metadata(secret)


@asynccontextmanager
async def followed(
    tmp_path: Path, objects: dict[str, Manifest] | None = None
) -> AsyncIterator[tuple[ApiServer, Records, RecordWatch]]:
    """Records with a watch that has listed them, and is silent."""
    async with ApiServer.start() as server:
        server.objects.update(objects or {})
        server.script("WATCH", "secrets", watch(stay=True))
        async with server.client(tmp_path) as kubernetes, asyncio.TaskGroup() as group:
            cache = RecordWatch(kubernetes, labels=OWN)
            task = group.create_task(cache.run(), name="record watch")
            await server.until_asked("WATCH", "secrets")
            try:
                yield server, Records(kubernetes, cache), cache
            finally:
                task.cancel()


async def test_a_list_asks_nobody_while_the_watch_goes_on(tmp_path: Path) -> None:
    """
    It has what was there, what was created, and not what was removed.
    """
    async with followed(tmp_path, {PATH: record()}) as (server, records, _):
        (there,) = await records.find(OWN)
        await records.remove(there)
        assert [] == await records.find(OWN)
        made = await records.create(record())
        assert [made.metadata] == await records.find(OWN)

        assert 1 == server.count(*LIST)


async def test_what_the_watch_tells_is_known(tmp_path: Path) -> None:
    """
    Also of a record that somebody else has damaged, mended or removed.
    """
    seen = []
    async with followed(tmp_path, {PATH: record()}) as (_, records, cache):
        for kind, told in (
            ("MODIFIED", known(50, exit="{")),
            ("MODIFIED", known(51)),
            ("DELETED", known(52)),
        ):
            cache.take(kind, told)
            seen.append([type(each) for each in await records.find_with_damaged(OWN)])

    assert [[DamagedRecord], [RecordMetadata], []] == seen


async def test_a_record_that_is_not_there_is_known_not_to_be(tmp_path: Path) -> None:
    """
    While the watch goes on: a peer stops, kills and removes what is not there before each launch.
    """
    async with followed(tmp_path, {PATH: record()}) as (server, records, cache):
        assert (False, True) == (records.lacks(NAME), records.lacks("other"))
        (there,) = await records.find(OWN)
        await records.remove(there)
        assert records.lacks(NAME)
        await records.create(record())
        assert not records.lacks(NAME)

        cache.interrupted()
        assert not records.lacks("other")
        assert not Records(records.kubernetes).lacks("other")
        assert 0 == server.count(*READ)


async def test_what_somebody_else_removed_is_in_the_trail(tmp_path: Path) -> None:
    """
    Once, by nobody's name; what Peitho removes itself it has told already.
    """
    told: list[Mapping[str, Any]] = []
    with audit.kept_by(told.append):
        async with followed(tmp_path, {PATH: record()}) as (_, records, cache):
            (there,) = await records.find(OWN)
            gone = cache.see(NAME)
            assert gone is not None
            with cache.removing(gone):  # the watch tells of it before the API server answers
                cache.take("DELETED", gone)
            await records.remove(there)
            cache.take("DELETED", known(52))
            other = replace(typed.metadata(record()), uid="other", resource_version="53")
            cache.take("ADDED", other)
            cache.take("DELETED", other)
            cache.take("DELETED", other)

    assert [("container removed", "done by somebody else, in the cluster")] == [
        (each["event"], each["outcome"]) for each in told
    ]
    assert (typed.metadata(record()).name, "") == (told[0]["container"], told[0]["address"])


async def test_a_record_that_was_written_is_not_read_again(tmp_path: Path) -> None:
    """
    Once the watch has told of it, for ever; until then, for a moment: it may never tell.
    """
    async with followed(tmp_path) as (server, records, cache):
        made = await records.create(record())
        changed = await records.add_files(made, {KEY: b"key"})
        assert changed == await records.get(NAME)
        assert 0 == server.count(*READ)

        await asyncio.sleep(LATER_SECONDS)
        assert not cache.is_live
        assert changed == await records.get(NAME)
        assert 1 == server.count(*READ)

        cache.heard(changed.resource_version)
        await asyncio.sleep(LATER_SECONDS)
        assert cache.is_live
        assert changed == await records.get(NAME)
        assert 1 == server.count(*READ)


async def test_a_watch_that_was_cut_hides_nothing(tmp_path: Path) -> None:
    """
    What is created meanwhile is found at the next look.
    """
    async with followed(tmp_path) as (server, records, cache):
        assert await records.get(NAME) is None
        cache.interrupted()
        server.objects[PATH] = record()
        assert isinstance(await records.get(NAME), Record)


async def test_a_change_by_somebody_else_is_read(tmp_path: Path) -> None:
    """
    As soon as the watch tells of it.
    """
    async with followed(tmp_path) as (server, records, cache):
        made = await records.create(record())
        server.objects[PATH]["metadata"]["resourceVersion"] = "70"
        cache.take("MODIFIED", known(70))
        read = await records.get(NAME)

    assert isinstance(read, Record)
    assert (made.id, "70") == (read.id, read.resource_version)
    assert 1 == server.count(*READ)


async def test_what_was_removed_does_not_come_back(tmp_path: Path) -> None:
    """
    A word of the watch may be late; and the end of one record is not that of a later one.
    """
    async with followed(tmp_path) as (_, records, cache):
        first = await records.create(record())
        await records.remove(first)
        cache.take("MODIFIED", first.metadata)
        assert [] == await records.find(OWN)

        second = await records.create(record())
        cache.take("DELETED", first.metadata)
        assert [second.uid] == [each.uid for each in await records.find(OWN)]


async def test_an_exit_that_was_noted_is_known_at_once(tmp_path: Path) -> None:
    """
    The watch need not have told of it.
    """
    async with followed(tmp_path) as (_, records, _):
        made = await records.create(record())
        await records.note_exit(made, Exit(3, "OOMKilled"), finished_at=AT)

        assert [Exit(3, "OOMKilled", AT)] == [each.exit for each in await records.find(OWN)]


async def test_a_word_of_how_it_was_before_changes_nothing(tmp_path: Path) -> None:
    """
    Versions are numbers that grow.
    """
    async with followed(tmp_path) as (_, records, cache):
        cache.take("ADDED", known(80, exit=record_secrets.exit_note(Exit(3), finished_at=AT)))
        cache.take("MODIFIED", known(79))

        assert [3] == [each.exit and each.exit.code for each in await records.find(OWN)]


async def test_without_a_watch_the_records_are_listed(tmp_path: Path) -> None:
    """
    As where the Role does not permit it; the right may be given later.
    """
    async with ApiServer.start() as server, server.client(tmp_path) as kubernetes:
        server.refuse_to_tell_of_secrets()
        cache = RecordWatch(kubernetes, labels=OWN)
        records = Records(kubernetes, cache)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(cache.run(), name="record watch")
            await server.until_asked("WATCH", "secrets", times=2)
            server.objects[PATH] = record()
            lists = server.count(*LIST)
            assert [known(7)] == await records.find(OWN)
            assert lists + 1 == server.count(*LIST)

            told = {"type": "ADDED", "object": record()}
            server.script("WATCH", "secrets", watch(told, stay=True))
            await until(lambda: cache.is_live)
            assert [known(7)] == await records.find(OWN)
            assert lists + 1 == server.count(*LIST)
            task.cancel()


async def test_a_label_that_is_taken_away_may_come_back(tmp_path: Path) -> None:
    """
    A watch tells of what it does not select any more as if it were deleted.
    """
    async with followed(tmp_path, {PATH: record()}) as (_, records, cache):
        cache.take("DELETED", known(50))
        assert [] == await records.find(OWN)
        cache.take("ADDED", known(51))

        assert [known(51)] == await records.find(OWN)


async def test_what_is_not_there_when_it_is_read_is_gone(tmp_path: Path) -> None:
    """
    Though the watch has not told so yet.
    """
    async with followed(tmp_path, {PATH: record()}) as (server, records, _):
        server.objects.clear()
        assert await records.get(NAME) is None

        assert [] == await records.find(OWN)


async def test_a_record_of_another_peitho_is_not_among_ours(tmp_path: Path) -> None:
    """
    Though it was read, since it has the name that is asked for.
    """
    foreign = record()
    foreign["metadata"]["labels"]["peitho/instance"] = "other"
    async with followed(tmp_path) as (server, records, _):
        server.objects[PATH] = foreign
        assert isinstance(await records.get(NAME), Record)

        assert [] == await records.find(OWN)
