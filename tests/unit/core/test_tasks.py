import asyncio

import pytest
import structlog.testing

from peitho.clients.retries import is_passing
from peitho.core.tasks import BackgroundTasks, to_its_end, until_done
from peitho.errors import NotFound, Unavailable


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
            tasks = BackgroundTasks(group)
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
            tasks = BackgroundTasks(group)
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
        tasks = BackgroundTasks(group)
        for name in ("a", "b"):
            tasks.spawn(asyncio.Event().wait(), name=name)
        await asyncio.sleep(0)
        tasks.cancel()


async def test_what_has_to_be_finished_outlasts_the_end() -> None:
    """
    The group waits for it, and whoever waited for it may have been cancelled.
    """
    go, done = asyncio.Event(), asyncio.Event()

    async def undo() -> None:
        await go.wait()
        done.set()

    async with asyncio.TaskGroup() as group:
        tasks = BackgroundTasks(group)
        tasks.finish(undo(), name="undo")
        await asyncio.sleep(0)
        tasks.cancel()
        go.set()

    assert done.is_set()


async def test_what_cannot_be_done_yet_is_tried_again() -> None:
    """
    Until it is done once, with the cause in the log.
    """
    answers: list[Unavailable | None] = [Unavailable("away"), Unavailable("still away"), None]

    async def work() -> None:
        if error := answers.pop(0):
            raise error

    with structlog.testing.capture_logs() as logs:
        await until_done(work, what="it", pause_seconds=0)

    assert [] == answers
    assert [("not done yet", "it", "away"), ("not done yet", "it", "still away")] == [
        (each["event"], each["what"], each["cause"]) for each in logs
    ]


async def test_what_never_passes_is_told() -> None:
    """
    At once, if it is known what passes.
    """

    async def work() -> None:
        raise NotFound("gone")

    with pytest.raises(NotFound, match=r"^gone$"):
        await until_done(work, what="it", pause_seconds=0, passes=is_passing)


async def test_what_was_begun_is_done_before_its_caller_is_cancelled() -> None:
    """
    A container that is being removed is gone when that returns.
    """
    done = asyncio.Event()
    may_end = asyncio.Event()

    async def work() -> None:
        await may_end.wait()
        done.set()

    async with asyncio.TaskGroup() as group:
        caller = group.create_task(to_its_end(work()))
        await asyncio.sleep(0)
        caller.cancel()
        await asyncio.sleep(0)
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await caller

    assert done.is_set()
