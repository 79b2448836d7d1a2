"""
Tests of one file that run at the same time: most of each is waiting, for Pods or for a time-out.

pytest runs one test after the other.  Before the first that is marked `@beside`, all tests of its
file that are marked so are started, each as a task.  pytest then takes one by one as ever, but in
place of a test's function it calls `_end`, which awaits the task and raises what the test raised.

A marked test may have parameters, `tmp_path`, and fixtures whose scope is `module` or `session`.
Objects that it makes in the cluster have names of its own.  Where the `pytestmark` of a file has
`usefixtures("begun")`, the tasks start before the first test of all.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
import pytest_asyncio

from tests.lab.peitho import Peitho

Calls = dict[pytest.Function, partial[Any]]
beside = pytest.mark.usefixtures("begun")

# What pytest.fail and pytest.skip raise is no Exception, nor is a group that has one of them.
_FAILURES = (Exception, BaseExceptionGroup, pytest.fail.Exception, pytest.skip.Exception)


@pytest.fixture(scope="module")
def marked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Calls:
    """The marked tests of a file: of each, the function with its arguments."""
    calls = {}
    for test in request.session.items:
        if test.path == request.path and beside.mark in test.own_markers:
            assert isinstance(test, pytest.Function)
            parameters = test.callspec.params if hasattr(test, "callspec") else {}
            values = {"tmp_path": tmp_path_factory.mktemp("beside"), **parameters}
            arguments = {
                name: values[name] if name in values else request.getfixturevalue(name)
                for name in inspect.signature(test.obj).parameters
            }
            calls[test] = partial(test.obj, **arguments)
    return calls


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def begun(marked: Calls) -> AsyncIterator[None]:
    """Starts the marked tests of a file; at the end of the file, cancels those that still run."""
    async with asyncio.TaskGroup() as tasks:
        started = {test: tasks.create_task(failure(call)) for test, call in marked.items()}
        for test, task in started.items():
            test.obj = partial(_end, task)
        yield
        for task in started.values():
            task.cancel()


async def failure(call: partial[Any]) -> BaseException | None:
    """What a test raises, with what each Peitho among its arguments logs meanwhile."""
    logs = [each.log for each in call.keywords.values() if isinstance(each, Peitho)]
    begins = [log.stat().st_size for log in logs]
    try:
        await call()
    except _FAILURES as error:
        for log, begin in zip(logs, begins, strict=True):
            error.add_note(log.read_bytes()[begin:].decode())
        return error
    return None


async def _end(task: asyncio.Task[BaseException | None], **_: object) -> None:
    if error := await task:
        raise error
