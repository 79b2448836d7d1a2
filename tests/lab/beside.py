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

# pytest's own are no Exception, nor is a group that has one of them.
_FAILURES = (Exception, BaseExceptionGroup, pytest.fail.Exception, pytest.skip.Exception)


def beside(story: Story) -> Callable[[Told], Awaitable[None]]:
    """
    A story that is begun with all others of its file that are marked so.

    Its own test awaits its end, and fails as it failed.  It is given fixtures of its file and of
    the session, what it is parametrized with below this mark, and a folder as `tmp_path`.  Names
    and namespaces are its own.
    """

    @functools.wraps(story)
    async def test(told: Told, **_: object) -> None:
        if failure := await told:
            raise failure

    vars(test).update(__signature__=_signature(["told", *_parametrized(story)]), story=story)
    return test


def _parametrized(story: Story) -> list[str]:
    """The parameters of a story that are no fixtures."""
    marks = (each for each in getattr(story, "pytestmark", []) if each.name == "parametrize")
    names = (mark.args[0] for mark in marks)
    return [name for each in names for name in ([each] if isinstance(each, str) else each)]


def _signature(names: list[str]) -> inspect.Signature:
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Signature([inspect.Parameter(name, kind) for name in names])


def marked(module: object, items: list[pytest.Item]) -> dict[str, Story]:
    """The stories of a file that are to be told at once, by the names of their tests."""
    return {
        item.name: functools.partial(item.obj.story, **_values(item))
        for item in items
        if isinstance(item, pytest.Function)
        if item.module is module and hasattr(item.obj, "story")
    }


def _values(item: pytest.Function) -> dict[str, Any]:
    """The values that this test has for its parameters."""
    return item.callspec.params if hasattr(item, "callspec") else {}


def wanted(story: Story) -> list[str]:
    """The fixtures of a story."""
    parameters = inspect.signature(story).parameters.values()
    return [each.name for each in parameters if each.default is inspect.Parameter.empty]


async def outcome(story: Story, given: Mapping[str, Any]) -> BaseException | None:
    """How a story failed, with what a Peitho that it was given logged meanwhile."""
    logs = [each.log for each in given.values() if isinstance(each, Peitho)]
    begins = [log.stat().st_size for log in logs]
    try:
        await story(**given)
    except _FAILURES as error:
        for log, begin in zip(logs, begins, strict=True):
            error.add_note(log.read_bytes()[begin:].decode())
        return error
    return None
