"""Long work that leaves turns of the loop to others."""

import asyncio

from peitho.clients.turns import ITEMS_PER_TURN, in_turns


async def test_others_have_turns_between_the_items() -> None:
    """
    All items come, in their order, and whoever waits is not kept waiting for all of them.
    """
    seen: list[int] = []
    others: list[int] = []

    async def other() -> None:
        while len(seen) < 3 * ITEMS_PER_TURN:
            others.append(len(seen))
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        group.create_task(other())
        async for item in in_turns(range(3 * ITEMS_PER_TURN)):
            seen += [item]

    assert list(range(3 * ITEMS_PER_TURN)) == seen
    assert [ITEMS_PER_TURN, 2 * ITEMS_PER_TURN] == others[-2:]
