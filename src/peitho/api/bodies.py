"""
The bodies of requests: which calls take one, how slowly it may come, and how much is in memory.

Files as answers are here, too.

Archives are streams.  What has to be read whole (the JSON of `create`) is small, and all of it
together has a bound: past that the largest one that has not come to its end has to go.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.streams import StreamReader

from peitho.api.connection import Connection
from peitho.api.middleware import Handler
from peitho.api.pace import BodyPace
from peitho.errors import InvalidArgument, NotFound, Unavailable
from peitho.formats.http_errors import without_content

CHUNK_BYTES = 256 * 1024
# A peer's `create` has 6 KiB.  What its JSON becomes takes up to 13 times as much.
_MEMORY_BYTES = 4 * 1024 * 1024
_MIB_BYTES = 1024 * 1024
_FULL = "more request bodies are on their way than Peitho has memory for; try again"


class Bodies:
    """Which calls take a body, and how slowly it may come."""

    def __init__(self, paces: Mapping[Any, BodyPace]) -> None:
        self._paces = paces

    @web.middleware
    async def expect(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Tell the connection what comes (a middleware); what nobody reads is dropped."""
        if request.can_read_body:
            Connection.of(request).expect(self._paces.get(request.match_info.handler))
        return await handler(request)


@dataclass(eq=False, slots=True)
class _Body:
    """A body, and what there is of it."""

    source: StreamReader
    data: bytearray = field(default_factory=bytearray)


class BodyMemory:
    """The bodies that are in memory whole, or on their way there."""

    def __init__(self, limit_bytes: int = _MEMORY_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._coming: set[_Body] = set()

    @asynccontextmanager
    async def whole(self, request: web.Request) -> AsyncIterator[bytes]:
        """
        Read a body, and count it until the end of the block.

        Raises InvalidArgument past the application's limit, TooSlow, Unavailable past our own.
        """
        body = _Body(request.content)
        self._coming.add(body)
        try:
            await self._read(request, body)
            self._coming.remove(body)
            yield bytes(body.data)
        finally:
            self._coming.discard(body)
            self._bytes -= len(body.data)

    async def _read(self, request: web.Request, body: _Body) -> None:
        async for chunk in chunks(request):
            if len(body.data) + len(chunk) > request.client_max_size:
                most = request.client_max_size // _MIB_BYTES
                raise InvalidArgument(f"the body is larger than {most} MiB")
            body.data += chunk
            self._bytes += len(chunk)
            while self._bytes > self._limit_bytes:
                self._drop_largest()
                if body not in self._coming:
                    raise Unavailable(_FULL)

    def _drop_largest(self) -> None:
        """Take the memory of the largest body that has not come to its end."""
        body = max(self._coming, key=lambda coming: len(coming.data))
        self._coming.remove(body)
        self._bytes -= len(body.data)
        body.data.clear()
        body.source.set_exception(Unavailable(_FULL))


BODY_MEMORY = web.AppKey("body memory", BodyMemory)


async def chunks(request: web.Request) -> AsyncIterator[bytes]:
    """
    Yield the body of a request as it comes.

    Raises InvalidArgument if the body is cut in the middle, TooSlow if it comes too slowly.
    """
    try:
        async for chunk in request.content.iter_chunked(CHUNK_BYTES):
            yield chunk
    except web.RequestPayloadError as error:
        raise InvalidArgument(
            f"the body was cut in the middle: {without_content(str(error))}"
        ) from error


async def send_file(
    request: web.Request, path: Path, *, headers: Mapping[str, str] | None = None
) -> web.StreamResponse:
    """
    Send a file as the answer. Raises NotFound if it was removed meanwhile.

    A FileResponse would do, but aiohttp sends that after the handler has returned: a stop of Peitho
    would take the call for finished, and cut it. And through TLS of our own it sends nothing.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError as error:
        raise NotFound("it was removed meanwhile") from error
    with file:
        response = web.StreamResponse(headers=headers)
        response.content_length = os.fstat(file.fileno()).st_size
        await response.prepare(request)
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            await response.write(chunk)
    await response.write_eof()
    return response
