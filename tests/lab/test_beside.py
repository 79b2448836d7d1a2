import asyncio
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from tests.lab.beside import beside, failure
from tests.lab.peitho import Peitho

MET = asyncio.Event()
CALLS: Counter[str] = Counter()
FOLDERS: set[Path] = set()


@beside
async def test_a_test_goes_on_while_others_run() -> None:
    """
    One that comes later in the file ends what this one waits for.
    """
    CALLS["waits"] += 1
    async with asyncio.timeout(10):
        await MET.wait()


@beside
@pytest.mark.parametrize("number", [0, 1])
async def test_a_test_has_its_parameters_and_its_folder(number: int, tmp_path: Path) -> None:
    """
    As any test has, and in whichever order the marks stand.
    """
    CALLS[f"above {number}"] += 1
    FOLDERS.add(tmp_path)


@pytest.mark.parametrize("number", [0, 1])
@beside
async def test_the_last_one_ends_what_the_first_waits_for(number: int, tmp_path: Path) -> None:
    """
    It is called while pytest is still at the first.
    """
    CALLS[f"below {number}"] += 1
    FOLDERS.add(tmp_path)
    MET.set()


@beside
@pytest.mark.xfail(raises=ZeroDivisionError, reason="this failure is expected")
async def test_a_failure_is_that_of_one_test() -> None:
    """
    Its own test fails as it failed, and breaks off no other.
    """
    CALLS["fails"] += 1
    CALLS["fails"] //= 0


def test_each_was_called_once() -> None:
    """
    By its task, and not by pytest as well; each folder was for one call.
    """
    names = {"waits", "above 0", "above 1", "below 0", "below 1", "fails"}
    assert dict.fromkeys(names, 1) == CALLS
    assert 4 == len(FOLDERS)


class Logging(Peitho):
    """A Peitho that is not started, and has a log."""

    def __init__(self, log: Path) -> None:
        self.log = log


async def test_a_failure_has_what_a_given_peitho_logged(tmp_path: Path) -> None:
    """
    From the start of the test on.
    """
    peitho = Logging(tmp_path / "peitho.log")
    peitho.log.write_text("before\n")

    async def fails(peitho: Peitho) -> None:
        peitho.log.write_text("before\nmeanwhile\n")
        raise ValueError

    found = await failure(partial(fails, peitho=peitho))

    assert isinstance(found, ValueError)
    assert ["meanwhile\n"] == found.__notes__


async def test_what_pytest_raises_is_a_failure_too() -> None:
    """
    Though it is no Exception, by itself and in a group.
    """

    async def raises_nothing() -> None:
        with pytest.raises(ValueError, match="none"):
            pass

    async def fails_inside() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(raises_nothing())

    found = [await failure(partial(each)) for each in (raises_nothing, fails_inside)]

    assert [pytest.fail.Exception, BaseExceptionGroup] == [type(each) for each in found]
