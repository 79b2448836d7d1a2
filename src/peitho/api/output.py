"""Output of a container as the answer to `attach` and `logs`: raw, or in Docker's frames."""

from collections.abc import Awaitable, Callable
from contextlib import aclosing

from aiohttp import web

from peitho.api import queries
from peitho.core.container import Said
from peitho.formats.docker import streams


def content_type(request: web.Request) -> str:
    """Return the Content-Type of a request's output."""
    return streams.RAW_TYPE if queries.is_versioned(request) else streams.FRAMED_TYPE


async def send(said: Said, request: web.Request, write: Callable[[bytes], Awaitable[None]]) -> None:
    """Write all output of a container."""
    is_raw = queries.is_versioned(request)
    async with aclosing(said) as parts:
        async for stream, data in parts:
            await write(data if is_raw else streams.frames(stream, data))
