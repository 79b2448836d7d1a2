"""A container whose record somebody else has written on."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from peitho.core.container import Container, OutputOptions
from peitho.errors import PeithoError
from peitho.formats.kubernetes import labels
from tests.support.contexts import chunks
from tests.support.launches import LATER_SECONDS, NAME, Scene, scene


async def damaged(it: Scene) -> Container:
    """A container that cannot be read any more."""
    await it.create()
    ((path, secret),) = it.cluster.objects.items()
    del secret["metadata"]["annotations"][labels.CREATED]
    it.cluster.changed(path)
    await asyncio.sleep(LATER_SECONDS)
    return await it.find()


async def _output(container: Container) -> None:
    async for _ in container.output(OutputOptions()):
        pass


CALLS: dict[str, Callable[[Container], Awaitable[object]]] = {
    "start": lambda found: found.start(),
    "stop": lambda found: found.stop(),
    "wait": lambda found: found.wait(),
    "inspect": lambda found: found.inspect(),
    "put_archive": lambda found: found.put_archive("/", chunks(b"")),
    "get_archive": lambda found: found.get_archive("/"),
    "output": _output,
}


@pytest.mark.parametrize("call", CALLS)
async def test_whatever_is_asked_of_it_is_answered_with_the_cause(
    tmp_path: Path, call: str
) -> None:
    """
    And with what to do.
    """
    async with scene(tmp_path) as it:
        container = await damaged(it)
        with pytest.raises(PeithoError, match=r"is damaged \(KeyError.*remove the container"):
            await CALLS[call](container)


async def test_a_peer_that_launches_anew_mends_it(tmp_path: Path) -> None:
    """
    Its launch removes the old container first, and creates one of the same name.
    """
    async with scene(tmp_path) as it:
        await (await damaged(it)).remove()
        assert [] == it.kinds()

        container = await it.create()
        assert container.id == (await it.find(NAME)).id
