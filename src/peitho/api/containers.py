"""Containers: create, start, stop, kill, wait, remove, inspect, list, logs."""

import asyncio
import json
import signal
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress

from aiohttp import web

from peitho import audit, metrics
from peitho.api import filters, models, output, queries
from peitho.api.bodies import BODY_MEMORY
from peitho.api.connection import Connection
from peitho.api.filters import ContainerFilters
from peitho.api.middleware import json_response, list_response
from peitho.api.services import services
from peitho.core.clock import unix_seconds
from peitho.core.container import Container, State, Summary
from peitho.errors import Conflict, InvalidArgument, NotFound, PeithoError, Unsupported
from peitho.formats.images.image_record import Image
from peitho.formats.kubernetes.labels import PROOF

_CONDITIONS = ("", "not-running", "next-exit", "removed")
# Each ends a process that does not catch it; all of them are answered by a stop.
_PROOF = {label.partition("/")[2].replace("-", "_"): label for label in PROOF}
_ENDING = ("SIGTERM", "SIGKILL", "SIGINT", "SIGQUIT")


async def create(request: web.Request) -> web.Response:
    """POST /containers/create — 201; 400, 403 not for callers, 404 no such image, 409 name."""
    name = request.query.get("name", "")
    async with request.config_dict[BODY_MEMORY].whole(request) as body:
        asked = models.read_create(body)
        spec = asked.spec()
        image = services(request).images.find(spec.image)  # without a store nothing is created
        with audit.recording("container created", container=name, image=spec.image) as fields:
            container = await services(request).containers.create(
                name, spec, peer=request.remote or ""
            )
            fields["id"] = container.id
    if image:
        services(request).usage.touch(image.name, request.remote or "")

    return json_response({"Id": container.id, "Warnings": asked.warnings()}, status=201)


async def start(request: web.Request) -> web.Response:
    """POST /containers/{id}/start — 204 once it runs; 304 if it ran; 403; 404; 500 why not."""
    if request.can_read_body:
        async with request.config_dict[BODY_MEMORY].whole(request) as body:
            models.check_start(body)
    container = await _container(request)
    with audit.recording("container started", **await _named(request, container)) as fields:
        started = await container.start()
        fields.update(await _named(request, container), was_running=not started)

    return web.Response(status=204 if started else 304)


async def stop(request: web.Request) -> web.Response:
    """
    POST /containers/{id}/stop — 204 once the process is gone; 304 if it was; 400; 404; 501.

    The process has a second at most, whatever `t` says: a peer gives none.
    """
    queries.number(request, "t", default=0)
    _check_signal(request)
    container = await _container(request)
    with audit.recording("container stopped", **await _named(request, container)) as fields:
        stopped = await container.stop()
        fields["was_running"] = stopped

    return web.Response(status=204 if stopped else 304)


async def kill(request: web.Request) -> web.Response:
    """POST /containers/{id}/kill — 204 once the process is gone; 409 if it was not; 404; 501."""
    _check_signal(request)
    reference = request.match_info["id"]
    try:
        container = await _container(request)
    except NotFound as error:
        raise NotFound(f"cannot kill container: {reference}: {error}") from error

    with audit.recording("container stopped", **await _named(request, container)) as fields:
        stopped = await container.stop()
        fields["was_running"] = stopped
    if not stopped:
        raise Conflict(
            f"cannot kill container: {reference}: container {container.id} is not running"
        )

    return web.Response(status=204)


async def wait(request: web.Request) -> web.StreamResponse:
    """POST /containers/{id}/wait — 200: headers at once, the exit code at the end; 404."""
    condition = request.query.get("condition", "")
    if condition not in _CONDITIONS:
        raise InvalidArgument(f"invalid condition: {condition!r}")
    container = await _container(request)
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.enable_chunked_encoding()
    await response.prepare(request)

    with metrics.WAITS.track_inprogress():
        state = await container.wait(condition)

    await response.write(json.dumps({"StatusCode": state.exit_code}).encode() + b"\n")
    await response.write_eof()
    return response


async def remove(request: web.Request) -> web.Response:
    """DELETE /containers/{id} — 204; 404; 409 if it runs and `force` is not set."""
    container = await _container(request)
    if not queries.flag(request, "force"):
        summary = (await container.inspect()).summary
        if summary.state.status == "running":
            raise Conflict(
                f'cannot remove container "/{summary.name}": container is running: '
                "stop the container before removing or force remove"
            )

    with audit.recording("container removed", **await _named(request, container)):
        await container.remove()

    return web.Response(status=204)


async def inspect(request: web.Request) -> web.Response:
    """GET /containers/{id}/json — 200; 404."""
    details = await (await _container(request)).inspect()
    image_id = ""
    sizes: dict[str, int] = {}
    with suppress(PeithoError):  # the container is there, whether or not its registry is
        published = await services(request).publisher.find(details.summary.image)
        if published:
            image_id, sizes = published.image.id, _sizes([published.image])

    container = models.inspect(details, image_id=image_id, tty=queries.takes_raw_output(request))
    size = _size(details.summary, sizes) if queries.flag(request, "size") else {}
    return json_response(container | size)


async def list_all(request: web.Request) -> web.Response:
    """GET /containers/json — 200; 400 for a filter that is none; 404 for `before`, `since`."""
    query = request.query
    asked = ContainerFilters.of(
        filters.parse(query.get("filters", ""), filters.CONTAINERS),
        before=query.get("before", ""),
        since=query.get("since", ""),
    )
    limit = queries.number(request, "limit", default=0)
    all_states = queries.flag(request, "all") or limit > 0 or bool(asked.statuses)
    images = await services(request).publisher.list()

    summaries = await services(request).containers.list()

    # A thread: a filter may be compared with thousands of containers.
    selected = await asyncio.to_thread(asked.select, summaries, images)

    shown = [summary for summary in selected if all_states or summary.state.status == "running"]
    sizes = _sizes(images) if queries.flag(request, "size") else {}
    entries = (_listed(summary, sizes) for summary in shown[: limit if limit > 0 else None])
    return await list_response(entries)


async def logs(request: web.Request) -> web.StreamResponse:
    """GET /containers/{id}/logs — 200, followed to the container's end if asked; 400; 404; 501."""
    options = output.options_of_logs(request)
    said = (await _container(request)).output(options)
    response = web.StreamResponse(headers={"Content-Type": output.content_type(request)})
    response.enable_chunked_encoding()
    await response.prepare(request)
    Connection.of(request).let_pause()
    await output.send(said, request, response.write)
    await response.write_eof()
    return response


async def _container(request: web.Request) -> Container:
    return await services(request).containers.get(request.match_info["id"])


async def _named(request: web.Request, container: Container) -> dict[str, str]:
    """What the audit trail says of a container: names, and what it runs, once that is known."""
    if not audit.is_kept():
        return {}
    summary = (await container.inspect()).summary
    named = {"container": summary.name, "id": summary.id, "image": summary.image}
    with suppress(PeithoError):
        if image := services(request).images.find(summary.image):
            named["layer"] = image.layer
    return named | {
        field: summary.labels[label] for field, label in _PROOF.items() if label in summary.labels
    }


def _listed(summary: Summary, sizes: Mapping[str, int]) -> models.Json:
    created = int(unix_seconds(summary.created))
    entry = models.list_entry(summary, created=created, status=_status(summary.state))
    return entry | _size(summary, sizes)


def _sizes(images: Iterable[Image]) -> dict[str, int]:
    return {image.name: image.layer_bytes for image in images}


def _size(summary: Summary, sizes: Mapping[str, int]) -> models.Json:
    """`docker ps -s`: what a container's image is large; no node tells what it has written."""
    size = sizes.get(summary.image.removesuffix(":latest"))
    return {} if size is None else {"SizeRootFs": size}


def _check_signal(request: web.Request) -> None:
    """Raise InvalidArgument for a signal that is none, Unsupported for one that ends nothing."""
    asked = request.query.get("signal", "").strip().upper()
    name = asked if asked.startswith("SIG") or asked.isdecimal() else f"SIG{asked}"
    numbers = {str(number.value): number.name for number in signal.Signals}
    name = numbers.get(name, name)
    if not asked or name in _ENDING:
        return
    if name not in signal.Signals.__members__:
        raise InvalidArgument(f"Invalid signal: {asked[:100]}")
    raise Unsupported(
        f"the signal {name} is not part of what Peitho does: {', '.join(_ENDING)} are"
    )


def _status(state: State) -> str:
    """Return what `docker ps` shows: `Up 5 minutes`, `Exited (3) 2 hours ago`."""
    if state.status == "running":
        return f"Up {_ago(state.started_at)}"
    if state.status == "exited":
        reason = f", {state.reason}" if state.reason else ""
        return f"Exited ({state.exit_code}{reason}) {_ago(state.finished_at)} ago"
    return "Created"


def _ago(moment: str) -> str:
    seconds = 0
    with suppress(ValueError):
        seconds = int(time.time() - unix_seconds(moment))
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} seconds"
