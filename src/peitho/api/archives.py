"""Archives that are uploaded into containers and downloaded from them."""

import base64
import json

from aiohttp import web

from peitho.api import models, queries
from peitho.api.bodies import chunks, send_file
from peitho.api.services import services
from peitho.core.container import Archive


async def put(request: web.Request) -> web.Response:
    """PUT /containers/{id}/archive — 200; 400 without path or for a bad archive; 404."""
    path = queries.required(request, "path")
    container = await services(request).containers.get(request.match_info["id"])

    await container.put_archive(path, chunks(request))

    return web.Response(status=200)


async def get(request: web.Request) -> web.StreamResponse:
    """GET|HEAD /containers/{id}/archive — 200 with the stat of the path in a header; 400; 404."""
    path = queries.required(request, "path")
    container = await services(request).containers.get(request.match_info["id"])

    archive = await container.get_archive(path)

    if request.method == "HEAD":
        return web.Response(headers=_stat_header(archive))
    headers = {"Content-Type": "application/x-tar"} | _stat_header(archive)
    return await send_file(request, archive.file, headers=headers)


def _stat_header(archive: Archive) -> dict[str, str]:
    stat = json.dumps(models.path_stat(archive.stat)).encode()
    return {"X-Docker-Container-Path-Stat": base64.b64encode(stat).decode()}
