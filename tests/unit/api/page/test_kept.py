import asyncio

from peitho.api.page.kept import Kept


async def test_it_is_worked_out_now_and_then() -> None:
    """
    However many ask.
    """
    made: list[int] = []

    async def work() -> int:
        await asyncio.sleep(0)
        made.append(1)
        return len(made)

    kept, always = Kept(work, seconds=1000.0), Kept(work, seconds=-1.0)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(kept.get()) for _ in range(5)]

    assert [1] * 5 == [task.result() for task in tasks]
    assert [2, 3] == [await always.get(), await always.get()]
