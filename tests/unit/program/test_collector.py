"""The garbage collector of a server."""

import asyncio
import gc
from collections.abc import Iterator
from contextlib import suppress

import pytest

from peitho.program import collector


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """The collector as the other tests have it."""
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


async def test_a_look_at_everything_is_seldom_and_has_a_bound_once_all_is_known() -> None:
    """
    What was listed is not looked at then; also where a list is refused for ever.
    """
    gc.unfreeze()
    collector.begin()
    while_loading, at_start = gc.get_threshold(), gc.get_freeze_count()
    kept = [[] for _ in range(1000)]  # type: list[list[int]]
    listed, refused = asyncio.Event(), asyncio.Event()
    listed.set()
    with suppress(TimeoutError):
        async with asyncio.timeout(100):
            await collector.run([listed, refused])

    assert (while_loading[:2], 2000) == (gc.get_threshold()[:2], while_loading[2])
    assert 60 == gc.get_threshold()[2]
    assert 0.9 * len(kept) < gc.get_freeze_count() - at_start  # others went meanwhile
