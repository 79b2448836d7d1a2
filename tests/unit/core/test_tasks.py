import asyncio

import pytest
import structlog.testing

from peitho.core.tasks import Tasks


async def fail() -> None:
    """Work that goes wrong."""
    raise ValueError("broken")


async def test_one_job_that_fails_is_logged_and_the_others_go_on() -> None:
    """
    With its name and its error.
    """
    done = asyncio.Event()

    async def work() -> None:
        await asyncio.sleep(0)
        done.set()

    with structlog.testing.capture_logs() as logs:
        async with asyncio.TaskGroup() as group:
            tasks = Tasks(group)
            tasks.spawn(fail(), name="bad")
            tasks.spawn(work(), name="good")

    assert done.is_set()
    assert [("background task failed", "bad", True)] == [
        (each["event"], each["task"], each["exc_info"]) for each in logs
    ]


async def test_what_the_program_cannot_do_without_ends_it() -> None:
    """
    The group fails with its error, and the others are cancelled.
    """

    async def program() -> None:
        async with asyncio.TaskGroup() as group:
            tasks = Tasks(group)
            tasks.spawn(asyncio.Event().wait(), name="waits")
            tasks.run(fail(), name="watch")

    with pytest.raises(ExceptionGroup) as raised:
        await program()

    assert ["broken"] == [str(each) for each in raised.value.exceptions]


async def test_cancel_ends_all_that_still_runs() -> None:
    """
    So that the program can stop.
    """
    async with asyncio.TaskGroup() as group:
        tasks = Tasks(group)
        for name in ("a", "b"):
            tasks.spawn(asyncio.Event().wait(), name=name)
        await asyncio.sleep(0)
        tasks.cancel()
