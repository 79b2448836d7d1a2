import asyncio
import json
from typing import ClassVar

import aiohttp
import pytest
import structlog.testing
from aiohttp import web

from peitho import __version__
from peitho.api import middleware
from peitho.api.middleware import Handler
from peitho.errors import (
    Conflict,
    InvalidArgument,
    NotFound,
    PeithoError,
    StartFailed,
    StorageFull,
    Unavailable,
    Unsupported,
)
from tests.support.in_process import listening


class _TeapotError(PeithoError):
    status: ClassVar[int] = 418


async def asked(handler: Handler) -> tuple[int, bytes, dict[str, str]]:
    """What a client gets from a handler below the middleware."""
    app = web.Application(middlewares=[middleware.answer])
    app.on_response_prepare.append(middleware.add_headers)
    app.router.add_get("/x/{id}", handler)
    async with (
        listening(app) as url,
        aiohttp.ClientSession() as http,
        http.get(f"{url}/x/1") as response,
    ):
        return response.status, await response.read(), dict(response.headers)


def raising(error: Exception) -> Handler:
    """A handler that fails."""

    async def handler(_: web.Request) -> web.StreamResponse:
        raise error

    return handler


async def fine(_: web.Request) -> web.StreamResponse:
    """A handler that does not."""
    return middleware.json_response({"a": 1}, status=201)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (PeithoError("no"), 500),
        (InvalidArgument("no"), 400),
        (NotFound("no"), 404),
        (Conflict("no"), 409),
        (Unsupported("no"), 501),
        (Unavailable("no"), 503),
        (StartFailed("no"), 500),
        (StorageFull("no"), 500),
        (_TeapotError("no"), 418),
        (web.HTTPRequestURITooLong(text="no"), 414),
    ],
    ids=lambda each: type(each).__name__,
)
async def test_a_kind_of_error_is_a_status(error: Exception, status: int) -> None:
    """
    With its message in Docker's JSON, whose Content-Type has no charset.
    """
    found, body, headers = await asked(raising(error))

    assert status == found
    assert {"message": "no"} == json.loads(body)
    assert "application/json" == headers["Content-Type"]


async def test_an_error_of_our_own_is_told_and_logged() -> None:
    """
    The peer gets the cause, the log the traceback.
    """
    with structlog.testing.capture_logs() as logs:
        status, body, _ = await asked(raising(KeyError("missing")))

    assert 500 == status
    assert "Peitho failed, see its log: KeyError: 'missing'" == json.loads(body)["message"]
    assert "request failed" in [each["event"] for each in logs if each["log_level"] == "error"]


@pytest.mark.parametrize("handler", [fine, raising(NotFound("no"))], ids=["fine", "error"])
async def test_every_answer_has_dockers_headers(handler: Handler) -> None:
    """
    The newest clients want an Api-Version of 1.44 to 1.52.
    """
    _, _, headers = await asked(handler)

    assert {
        "Api-Version": "1.47",
        "Docker-Experimental": "false",
        "Ostype": "linux",
        "Server": f"Peitho/{__version__} (linux)",
        "Content-Type": "application/json",
    }.items() <= headers.items()


async def test_each_request_is_one_line_of_the_log() -> None:
    """
    Method, path, status, duration, and the cause if there is one.
    """
    with structlog.testing.capture_logs() as logs:
        await asked(fine)
        await asked(raising(NotFound("No such thing")))

    first, second = [each for each in logs if each["event"] == "request answered"]
    assert ("GET", "/x/1", 201, "127.0.0.1") == (
        first["method"],
        first["path"],
        first["status"],
        first["peer"],
    )
    assert first["duration_seconds"] >= 0
    assert "cause" not in first
    assert (404, "No such thing") == (second["status"], second["cause"])


async def test_a_name_with_a_ping_in_it_hides_no_request() -> None:
    """
    Only the ping itself is told at debug alone.
    """
    app = web.Application(middlewares=[middleware.answer])
    for path in ("/_ping", "/v{version}/_ping", "/containers/{id}/json"):
        app.router.add_get(path, fine)
    with structlog.testing.capture_logs() as logs:
        async with listening(app) as url, aiohttp.ClientSession() as http:
            for path in ("/_ping", "/v1.44/_ping", "/containers/x_ping/json", "/x/_ping"):
                async with http.get(url + path) as response:
                    await response.read()
    told = [(each["path"], each["log_level"]) for each in logs if "path" in each]
    assert [
        ("/_ping", "debug"),
        ("/v1.44/_ping", "debug"),
        ("/containers/x_ping/json", "info"),
        ("/x/_ping", "info"),
    ] == told


async def test_a_cause_is_as_long_as_a_line_bears() -> None:
    """
    The peer is told all of it.
    """
    with structlog.testing.capture_logs() as logs:
        _, body, _ = await asked(raising(PeithoError("y" * 100_000)))

    (line,) = (each for each in logs if each["event"] == "request answered")
    assert "y" * 4000 == line["cause"]
    assert "y" * 100_000 == json.loads(body)["message"]


async def test_a_peer_that_hung_up_is_in_the_log() -> None:
    """
    As 499, for no status was ever sent.
    """
    began, ended = asyncio.Event(), asyncio.Event()

    async def waits(_: web.Request) -> web.StreamResponse:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return web.Response()

    with structlog.testing.capture_logs() as logs:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(asked(waits))
            await began.wait()
            task.cancel()
        await ended.wait()

    assert [499] == [each["status"] for each in logs if each["event"] == "request answered"]
