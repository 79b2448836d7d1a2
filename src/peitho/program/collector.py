"""
Memory of a server: what is looked at for garbage, and when, and what goes back to the system.

The garbage collector stops everything for as long as it looks, 0.6 us an object. What comes at a
start are thousands of records that refer to nothing and stay, while lists are decoded; then there
are thousands of waits, which stay as well.
"""

import asyncio
import ctypes
import gc
from collections.abc import Iterable
from contextlib import suppress

# How many new objects are looked at in one go, and how many such looks are one at them all again.
_NEW, _LOOKS = 10_000, 1
# How many of those are a look at everything: it takes 0.3 s with thousands of open waits, and is
# due once there may be 1.8 million objects more.  While lists are decoded, hardly any stays.
_LOOKS_WHILE_LOADING, _LOOKS_LATER = 2000, 60
_LOADED_SECONDS = 60.0
_GIVEN_BACK_SECONDS = 20.0
# glibc keeps what is free in the middle of its heap, a tenth of all after a long list, until it is
# asked (malloc_trim(3)); other C libraries have nothing of that name.
_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)


def begin() -> None:
    """Look at little while lists are decoded, and at nothing of what is there by now."""
    gc.freeze()
    gc.set_threshold(_NEW, _LOOKS, _LOOKS_WHILE_LOADING)


async def run(loaded: Iterable[asyncio.Event]) -> None:
    """Go over to what is right for a server that knows all; give back what is free, for ever."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_LOADED_SECONDS):
            for each in loaded:
                await each.wait()
    gc.freeze()  # what was loaded stays, mostly
    gc.set_threshold(_NEW, _LOOKS, _LOOKS_LATER)
    while _trim:
        await asyncio.to_thread(_trim, 0)
        await asyncio.sleep(_GIVEN_BACK_SECONDS)
