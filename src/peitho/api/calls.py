"""The open calls of the Docker API, so that a stop of Peitho can let the short ones finish."""

import asyncio
from collections.abc import Collection
from contextlib import suppress

from aiohttp import web

from peitho.api.middleware import Handler
from peitho.errors import Unavailable

_STOPPING = "Peitho is stopping, and takes no more calls"


class OpenCalls:
    """Counts open calls, except those that last as long as a container does."""

    def __init__(self, long: Collection[object]) -> None:
        self._long = frozenset(long)
        self._open = 0
        self._none = asyncio.Event()
        self._none.set()
        self._stopping = False

    @web.middleware
    async def count(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Count a call (a middleware); refuse it with Unavailable once Peitho is stopping."""
        if self._stopping:
            raise Unavailable(_STOPPING)
        if request.match_info.handler in self._long:
            return await handler(request)
        self._open += 1
        self._none.clear()
        try:
            return await handler(request)
        finally:
            self._open -= 1
            if not self._open:
                self._none.set()

    async def finish(self, *, within_seconds: float) -> None:
        """Refuse new calls, and return once no call is open or the time is over."""
        self._stopping = True
        with suppress(TimeoutError):
            async with asyncio.timeout(within_seconds):
                await self._none.wait()
