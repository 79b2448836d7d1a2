import asyncio

from peitho.settings.live import Live, Replaceable


async def test_a_value_of_its_own_stays() -> None:
    """
    Whoever waits for another one waits for ever.
    """
    live = Live(5)
    with live.listening(lambda: None):
        assert 5 == live.now

    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(live.until_other(5))
        await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()


def test_what_is_read_after_a_replacement_is_the_new_value() -> None:
    """
    For all who hold it, and for what follows from it, however far.
    """
    number = Replaceable(5)
    held: Live[int] = number
    text = number.map(str)
    length = text.map(len)

    number.now = 12

    assert (12, "12", 2) == (held.now, text.now, length.now)


def test_what_follows_is_worked_out_once_for_each_value() -> None:
    """
    When it is first read; an equal value is another one.
    """
    asked: list[list[int]] = []

    def doubled(numbers: list[int]) -> list[int]:
        asked.append(numbers)
        return [*numbers, *numbers]

    source = Replaceable([1])
    derived = source.map(doubled)
    assert [] == asked

    first = derived.now
    assert first is derived.now
    source.now = [1]
    assert first is not derived.now
    assert [[1], [1]] == asked


def test_who_listens_is_told_of_each_replacement() -> None:
    """
    After it, and only for as long as they listen; also through what follows from the value.
    """
    number = Replaceable(1)
    text = number.map(str)
    told: list[str] = []
    with text.listening(lambda: told.append(text.now)):
        number.now = 2
        number.now = 2
    number.now = 3

    assert ["2", "2"] == told


async def test_who_waits_is_woken_by_another_value() -> None:
    """
    By one that is not equal; and not at all if it is another already.
    """
    number = Replaceable(1)
    is_odd = number.map(lambda value: value % 2 == 1)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(is_odd.until_other(than=True))
        await asyncio.sleep(0)
        number.now = 3
        await asyncio.sleep(0)
        assert not waiting.done()
        number.now = 4
        await waiting

    await is_odd.until_other(than=True)
