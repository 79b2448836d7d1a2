import asyncio

from peitho.core.readers import Readers


async def test_the_end_waits_for_readers() -> None:
    """
    Until the last has read it all.
    """
    readers = Readers()
    async with asyncio.TaskGroup() as group:
        with readers.reading(), readers.reading():
            drained = group.create_task(readers.drained(60))
            await asyncio.sleep(0)
            assert not readers.are_none
        assert not drained.done()
    assert readers.are_none
    await readers.drained(60)


async def test_the_end_does_not_wait_for_ever() -> None:
    """
    A peer that does not read holds up no other.
    """
    readers = Readers()
    with readers.reading():
        await readers.drained(0.01)

        assert not readers.are_none
