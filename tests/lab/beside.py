"""Stories of a file told at the same time: most of each is waiting, for Pods or for a time-out."""

import functools
import inspect
from asyncio import Task
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

import pytest

from tests.lab.peitho import Peitho

Story = Callable[..., Coroutine[Any, Any, None]]
Told = Task[BaseException | None]


def beside(story: Story) -> Callable[[Told], Awaitable[None]]:
    """
    A story that is begun with all others of its file that are marked so.

    Its own test awaits its end, and fails as it failed.  It is given fixtures of its file and of
    the session, and a folder of its own as `tmp_path`; names and namespaces are its own too.
    """

    @functools.wraps(story)
    async def test(told: Told) -> None:
        if failure := await told:
            raise failure

    told = inspect.Parameter("told", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    vars(test).update(__signature__=inspect.Signature([told]), story=story)
    return test


def marked(module: object, items: list[pytest.Item]) -> dict[str, Story]:
    """The stories of a file that are to be told at once, by the names of their tests."""
    found = ((item.name, item) for item in items if isinstance(item, pytest.Function))
    return {
        name: item.obj.story
        for name, item in found
        if item.module is module and hasattr(item.obj, "story")
    }


async def outcome(story: Story, given: Mapping[str, Any]) -> BaseException | None:
    """How a story failed, with what a Peitho that it was given logged meanwhile."""
    logs = [each.log for each in given.values() if isinstance(each, Peitho)]
    begins = [log.stat().st_size for log in logs]
    try:
        await story(**given)
    except (Exception, pytest.fail.Exception, pytest.skip.Exception) as error:  # noqa: BLE001
        for log, begin in zip(logs, begins, strict=True):
            error.add_note(log.read_bytes()[begin:].decode())
        return error
    return None
