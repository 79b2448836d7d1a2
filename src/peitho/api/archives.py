"""Archives into and out of containers."""

import base64
import json
from collections.abc import AsyncIterator

from aiohttp import web

from peitho.api import models, queries
from peitho.api.services import services
from peitho.core.container import Archive
from peitho.errors import InvalidArgument

CHUNK_BYTES = 256 * 1024


async def put(request: web.Request) -> web.Response:
    """PUT /containers/{id}/archive — 200; 400 without path or for a bad archive; 404."""
    path = queries.required(request, "path")
    container = await services(request).containers.get(request.match_info["id"])

    await container.put_archive(path, body(request))

    return web.Response(status=200)


async def get(request: web.Request) -> web.StreamResponse:
    """GET|HEAD /containers/{id}/archive — 200 with the stat of the path in a header; 400; 404."""
    path = queries.required(request, "path")
    container = await services(request).containers.get(request.match_info["id"])

    archive = await container.get_archive(path)

    if request.method == "HEAD":
        return web.Response(headers=_stat_header(archive))
    headers = {"Content-Type": "application/x-tar"} | _stat_header(archive)
    return web.FileResponse(archive.file, chunk_size=CHUNK_BYTES, headers=headers)


async def body(request: web.Request) -> AsyncIterator[bytes]:
    """
    The body as it comes.

    Raises InvalidArgument if it is cut in the middle.
    """
    try:
        async for chunk in request.content.iter_chunked(CHUNK_BYTES):
            yield chunk
    except web.RequestPayloadError as error:
        raise InvalidArgument(f"the body was cut in the middle: {error}") from error


def _stat_header(archive: Archive) -> dict[str, str]:
    stat = json.dumps(models.path_stat(archive.stat)).encode()
    return {"X-Docker-Container-Path-Stat": base64.b64encode(stat).decode()}
