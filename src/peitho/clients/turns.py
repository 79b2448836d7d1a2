"""Turns of the event loop: long work is cut, so that others are answered between its parts."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

T = TypeVar("T")

# What is done with one item takes 10 to 50 microseconds.
ITEMS_PER_TURN = 200


async def in_turns(items: Iterable[T]) -> AsyncIterator[T]:
    """Yield the items, and give the loop to others after each few; they must not change."""
    for number, item in enumerate(items, 1):
        yield item
        if number % ITEMS_PER_TURN == 0:
            await asyncio.sleep(0)
