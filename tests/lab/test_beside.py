import asyncio

import pytest

from tests.lab.beside import beside, outcome

MET = asyncio.Event()


@beside
async def test_a_story_goes_on_while_others_are_told() -> None:
    """
    One that comes later in the file ends what this one waits for.
    """
    async with asyncio.timeout(10):
        await MET.wait()


@beside
@pytest.mark.parametrize("number", [3])
async def test_a_story_has_its_parameters(number: int) -> None:
    """
    As any test has.
    """
    MET.set()
    assert 3 == number


async def test_a_failure_waits_for_the_storys_own_test() -> None:
    """
    A failed assertion, and what pytest itself raises; neither breaks off another story.
    """

    async def fails() -> None:
        assert not MET

    async def raises_nothing() -> None:
        with pytest.raises(ValueError, match="none"):
            pass

    async def fails_inside() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(raises_nothing())

    found = [await outcome(each, {}) for each in (fails, raises_nothing, fails_inside)]

    expected = [AssertionError, pytest.fail.Exception, BaseExceptionGroup]
    assert expected == [type(each) for each in found]
