"""Chaincode containers, found by what peers call them, before a double of the API server."""

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from peitho.core.chaincode import containers
from peitho.core.chaincode.damaged import DamagedContainer
from peitho.core.pods.tokens import Holder
from peitho.errors import Conflict, NotFound, Unavailable
from peitho.formats.kubernetes import labels, names
from peitho.formats.kubernetes.objects import Manifest
from tests.support import typed
from tests.support.in_process import running
from tests.support.kubernetes_double import always, refusal
from tests.support.launches import LATER_SECONDS, NAME, SPEC, ended, scene


async def test_a_container_is_found_by_name_and_id(tmp_path: Path) -> None:
    """
    And by a beginning of its ID that no other has.
    """
    async with scene(tmp_path) as it:
        first, second = await it.create(), await it.create("dev-other")
        shared = first.id[: _shared_characters(first.id, second.id)]

        for reference in (NAME, first.id, first.id[: len(shared) + 1]):
            assert first.id == (await it.find(reference)).id
        if shared:
            with pytest.raises(NotFound):
                await it.find(shared)


async def test_a_name_is_given_once(tmp_path: Path) -> None:
    """
    The refusal says whose it is.
    """
    async with scene(tmp_path) as it:
        container = await it.create()

        with pytest.raises(Conflict, match=container.id):
            await it.create()


async def test_nothing_is_created_without_its_image(tmp_path: Path) -> None:
    """
    A 1.4 peer builds when it hears that.
    """
    async with scene(tmp_path) as it:
        with pytest.raises(NotFound, match=r"^No such image: mycc:latest$"):
            await it.parts.services.containers.create(NAME, SPEC)

        assert [] == it.kinds()


async def test_what_the_api_server_says_no_to_is_told(tmp_path: Path) -> None:
    """
    In its own words.
    """
    async with scene(tmp_path) as it:
        quota = always(lambda: refusal(403, "Forbidden", "exceeded quota: secrets"))
        it.cluster.script("POST", "secrets", quota)

        with pytest.raises(Exception, match="exceeded quota: secrets"):
            await it.create()


async def test_a_name_in_use_is_told_though_no_watch_has_told_of_it(tmp_path: Path) -> None:
    """
    The create whose answer nobody read made it: it is ours.
    """
    async with scene(tmp_path) as it:
        made = await it.create()
        record_watch = it.parts.record_watch
        record_watch.forget_name(names.kubernetes_name("cc", NAME))

        with pytest.raises(Conflict, match=f'already in use by container "{made.id}"'):
            await it.create()


async def test_before_the_first_list_nothing_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It could not be told whether a container runs.
    """
    monkeypatch.setattr(containers, "_SYNC_SECONDS", 0.01)
    async with running(tmp_path, refused=True) as peitho:
        await peitho.cluster.until_asked("GET", "pods")
        with pytest.raises(Unavailable, match="has not told yet which Pods there are"):
            await peitho.services.containers.get(NAME)


async def test_a_damaged_record_breaks_no_list(tmp_path: Path) -> None:
    """
    The others are listed and found; the damaged one is found by its name, to be removed.
    """
    async with scene(tmp_path) as it:
        await it.create()
        whole = await it.create("dev-whole")
        path = next(path for path in it.cluster.objects if "peer0" in path)
        it.cluster.objects[path]["metadata"]["annotations"][labels.EXIT] = "{"
        it.cluster.changed(path)
        await asyncio.sleep(LATER_SECONDS)

        listed = await it.parts.services.containers.list()

        assert ["dev-whole"] == [each.name for each in listed]
        assert whole.id == (await it.find(whole.id)).id
        assert isinstance(await it.find(), DamagedContainer)


@pytest.mark.parametrize("damage", ["{", ""])
async def test_a_container_of_another_peitho_is_not_found(tmp_path: Path, damage: str) -> None:
    """
    Nor read, nor removed, damaged or not; whoever wants its name is told whose it is.
    """
    async with scene(tmp_path) as it:
        container = await it.create()
        it.cluster.refuse_to_tell_of_secrets()
        (secret,) = (body for path, body in it.cluster.objects.items() if "peer0" in path)
        secret["metadata"]["labels"]["peitho/instance"] = "other"
        secret["metadata"]["annotations"][labels.EXIT] = damage
        await asyncio.sleep(LATER_SECONDS)

        for reference in (NAME, container.id, container.id[:12]):
            with pytest.raises(NotFound):
                await it.find(reference)
        with pytest.raises(Conflict, match="in use by another Peitho in this namespace"):
            await it.create()


@pytest.mark.parametrize("reference", ["", "/"])
async def test_an_empty_beginning_is_nobodys(tmp_path: Path, reference: str) -> None:
    """
    Not even if there is one container alone.
    """
    async with scene(tmp_path) as it:
        await it.create()

        with pytest.raises(NotFound):
            await it.find(reference)


def _shared_characters(one: str, other: str) -> int:
    """How many characters two texts have in common at their beginnings."""
    pairs = enumerate(zip(one, other, strict=True))
    return next(number for number, (left, right) in pairs if left != right)


async def test_a_layer_is_awaited_until_an_hour_after_its_process_began(tmp_path: Path) -> None:
    """
    A Pod that has not begun gets it whenever it was made; one that has ended does not.
    """
    async with scene(tmp_path) as it:
        container = await it.create()
        holder = Holder(names.kubernetes_name("cc", NAME), container.id)
        expected = [True]
        found = [await it.parts.chaincodes.awaits_layer(holder)]
        for state, awaits in (
            ({"waiting": {"reason": "PodInitializing"}}, True),
            (_running_for(60), True),
            (_running_for(3700), False),
            (ended(1), False),
        ):
            await it.tell(container, state)
            expected.append(awaits)
            found.append(await it.parts.chaincodes.awaits_layer(holder))

        assert expected == found


async def test_a_pod_that_is_being_deleted_awaits_no_layer(tmp_path: Path) -> None:
    """
    Its node does not end it before its puller has ended, and that would try for a minute.
    """
    async with scene(tmp_path) as it:
        container = await it.create()
        holder = Holder(names.kubernetes_name("cc", NAME), container.id)
        await it.tell(container, {"waiting": {"reason": "ContainerCreating"}}, "ADDED")
        assert await it.parts.chaincodes.awaits_layer(holder)

        await it.terminate(grace_seconds=1)
        await typed.seen(
            it.parts.services.watch,
            labels.container_label(container.id),
            lambda seen: (seen.pod and seen.pod.grace_seconds) or None,
        )

        assert not await it.parts.chaincodes.awaits_layer(holder)


async def test_a_pod_that_is_made_anew_gets_its_layer(tmp_path: Path) -> None:
    """
    Days after the first one began, and after that has gone.
    """
    async with scene(tmp_path) as it:
        container = await it.create()
        holder = Holder(names.kubernetes_name("cc", NAME), container.id)
        await it.tell(container, _running_for(3 * 86_400))
        assert not await it.parts.chaincodes.awaits_layer(holder)
        await it.tell(container, _running_for(3 * 86_400), "DELETED")
        assert not await it.parts.chaincodes.awaits_layer(holder)

        await it.tell(container, {"waiting": {"reason": "PodInitializing"}}, "ADDED")
        assert await it.parts.chaincodes.awaits_layer(holder)


async def test_only_a_container_that_is_there_awaits_its_layer(tmp_path: Path) -> None:
    """
    Neither one that was removed, nor the one that had its name before, nor none at all.
    """
    async with scene(tmp_path) as it:
        container = await it.create()
        holder = Holder(names.kubernetes_name("cc", NAME), container.id)
        assert not await it.parts.chaincodes.awaits_layer(Holder("cc-other", container.id))
        await container.remove()
        assert not await it.parts.chaincodes.awaits_layer(holder)
        await it.create()
        assert not await it.parts.chaincodes.awaits_layer(holder)


def _running_for(seconds: float) -> Manifest:
    began = datetime.fromtimestamp(time.time() - seconds, UTC)
    return {"running": {"startedAt": began.strftime("%Y-%m-%dT%H:%M:%SZ")}}
