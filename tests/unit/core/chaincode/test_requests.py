"""How often the API server is asked for one launch, with all the calls that a peer makes for it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from operator import methodcaller
from pathlib import Path

from peitho.core.container import Container
from peitho.errors import NotFound
from tests.support.archives import archive_bytes, file
from tests.support.contexts import chunks
from tests.support.launches import LATER_SECONDS, NAME, RUNNING, SPEC, Scene, ended, scene

FILES = archive_bytes([file("etc/hyperledger/fabric/client.key", b"key")], compression="gz")


@asynccontextmanager
async def built(tmp_path: Path) -> AsyncIterator[Scene]:
    """A Peitho that has listed what there is, and has the image of the chaincode."""
    async with scene(tmp_path) as it:
        await (await it.create("dev-other")).remove()
        await asyncio.sleep(LATER_SECONDS)
        it.cluster.requests.clear()
        yield it


async def asked(it: Scene) -> Counter[str]:
    """What was asked since the last time, without watches."""
    await asyncio.sleep(0.2)
    found = Counter(
        f"{method} {kind.partition('/')[0]}"
        for method, kind, _, _ in it.cluster.requests
        if method != "WATCH"
    )
    it.cluster.requests.clear()
    return found


async def launch(it: Scene) -> Container:
    """Stop, kill, remove, create, upload and start, and a wait that begins."""
    for call in ("stop", "stop", "remove"):  # kill is the second stop
        with suppress(NotFound):
            await methodcaller(call)(await it.find())
    await it.parts.services.containers.create(NAME, SPEC)
    await (await it.find()).put_archive("/", chunks(FILES))
    container = await it.find()
    async with asyncio.TaskGroup() as group:
        started = group.create_task(container.start())
        await it.cluster.until_asked("POST", "jobs")
        await it.tell(container, RUNNING, "ADDED")
    assert started.result()
    assert container.id == (await it.find()).id
    return container


async def test_a_launch_asks_three_times(tmp_path: Path) -> None:
    """
    To make its record, files and Job: that there is no such container yet, the watch knows.
    """
    async with built(tmp_path) as it:
        await launch(it)

        assert await asked(it) == {"POST secrets": 1, "PATCH secrets": 1, "POST jobs": 1}


async def test_what_no_watch_can_tell_is_asked_for(tmp_path: Path) -> None:
    """
    While it may miss something, a launch asks whether there is such a container, three times.
    """
    async with built(tmp_path) as it:
        it.parts.record_watch.interrupted()
        await launch(it)

        assert 3 <= (await asked(it))["GET secrets"]


async def test_a_relaunch_after_a_crash_asks_five_times(tmp_path: Path) -> None:
    """
    To remove the old container, and for the new one: the watch has told what is there.
    """
    async with built(tmp_path) as it:
        container = await launch(it)
        await asked(it)
        await it.tell(container, ended(1))
        assert await asked(it) == {"PATCH secrets": 1, "POST events": 1}
        await asyncio.sleep(LATER_SECONDS)

        await launch(it)

        assert await asked(it) == {
            "DELETE secrets": 1,
            "DELETE jobs": 1,
            "POST secrets": 1,
            "PATCH secrets": 1,
            "POST jobs": 1,
        }
