"""
What a running Peitho alone knows, for `peitho builds` and `peitho logs`.

The operations listener is open to Prometheus and the kubelet, so each call has a token that only
who reads the data directory can make: nobody else sees who builds what.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping

from aiohttp import web

from peitho import metrics
from peitho.api.middleware import json_response
from peitho.api.services import Services, services
from peitho.core.builds.build import Build
from peitho.core.container import OutputOptions
from peitho.formats import operator_token

TENANTS = web.AppKey("tenants", Mapping[str, Services])


async def builds(request: web.Request) -> web.Response:
    """GET /builds — 200: the builds that wait or are carried out; 403."""
    if refused := await _refused(request):
        return refused
    rows = [_row(build) | {"tenant": tenant} for tenant, build in _under_way(request)]
    return json_response(rows)


async def log(request: web.Request) -> web.StreamResponse:
    """GET /builds/{id}/log?follow= — 200: what a build says; 403; 404."""
    if refused := await _refused(request):
        return refused
    asked = request.match_info["id"]
    matching = [build for _, build in _under_way(request) if build.id.startswith(asked)]
    if len(matching) != 1:
        return json_response({"message": f"No such build: {asked}"}, status=404)

    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    options = OutputOptions(follow="follow" in request.query)
    async for _, data in matching[0].output.read(options):
        await response.write(data)
    await response.write_eof()
    return response


async def _refused(request: web.Request) -> web.Response | None:
    """Return the refusal of a call without the token; None for one with it."""
    key = await asyncio.to_thread(services(request).storage.delivery_key)
    if operator_token.opens(request.headers.get("Authorization", ""), key):
        return None
    metrics.REFUSED.labels("token").inc()
    return json_response({"message": "this is for whoever reads the data directory"}, status=403)


def _under_way(request: web.Request) -> Iterator[tuple[str, Build]]:
    """The builds of all tenants: an operator is above them."""
    for tenant, parts in request.app[TENANTS].items():
        for build in parts.builds.pool.under_way():
            yield tenant, build


def _row(build: Build) -> dict[str, object]:
    return {
        "name": build.id[:12],
        "id": build.id,
        "phase": build.phase,
        "image": build.spec.image,
        "peer": build.peer,
        "peers": build.peers,
        "seconds": round(time.monotonic() - build.began, 1),
        "started": build.started_at,
        "outputBytes": build.output.size_bytes,
        "lastLine": build.output.last_line,
    }
