"""A container's output as its reader takes it: raw, or in frames (see `queries.is_versioned`)."""

from collections.abc import Awaitable, Callable
from contextlib import aclosing

from aiohttp import web

from peitho.api import queries
from peitho.core.container import Said
from peitho.formats.docker import streams


def content_type(request: web.Request) -> str:
    """What the answer to a request for output says of itself."""
    return streams.RAW_TYPE if queries.is_versioned(request) else streams.FRAMED_TYPE


async def send(said: Said, request: web.Request, write: Callable[[bytes], Awaitable[None]]) -> None:
    """Write what a container says, to its end."""
    is_raw = queries.is_versioned(request)
    async with aclosing(said) as parts:
        async for stream, data in parts:
            await write(data if is_raw else streams.frames(stream, data))
