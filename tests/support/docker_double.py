"""
A double of a Docker daemon, on a socket or on loopback.

For faults that a real one cannot be made to do, and for what Peitho says to it.  What Peitho does
with a real daemon is told by tests/journeys.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from aiohttp import web

from peitho.clients.docker import DaemonTlsFiles, Docker
from peitho.formats.docker.streams import STDERR, STDOUT, frame

Json = dict[str, Any]
Script = Callable[[web.Request], Awaitable[web.StreamResponse]]

CCENV: Json = {"Id": "sha256:cc", "Architecture": "arm64", "Size": 5, "Config": {"Labels": None}}


@dataclass(slots=True)
class Container:
    """A container, as far as the double runs it: it ends as soon as it may."""

    body: Json
    uploads: list[tuple[str, bytes]] = field(default_factory=list)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Dockerd:
    """Answers as scripted where a script is left, once each; else as a daemon would."""

    def __init__(self) -> None:
        self.containers: dict[str, Container] = {}
        self.images: dict[str, Json] = {"ccenv": CCENV}
        self.requests: list[tuple[str, str, dict[str, str], str]] = []
        self.versions: set[str] = set()
        self.scripts: dict[tuple[str, str], list[Script]] = {}
        self.api_version: str | None = "1.41"
        self.frames = frame(STDOUT, b"out\n") + frame(STDERR, b"err\n")
        self.exit_code = 0
        self.state: Json = {}
        self.result = b"the result"
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.endpoint = ""

    @classmethod
    @asynccontextmanager
    async def start(cls, path: Path) -> AsyncIterator[Self]:
        """The daemon on a socket, while it runs."""
        double = cls()
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", double._answer)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        double.endpoint = f"unix://{path / 'docker.sock'}"
        try:
            await web.UnixSite(runner, str(path / "docker.sock")).start()
            yield double
        finally:
            await runner.cleanup()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Docker]:
        """Peitho's client of this daemon."""
        async with Docker.connect(self.endpoint, tls=DaemonTlsFiles()) as docker:
            yield docker

    def script(self, method: str, path: str, *scripts: Script) -> None:
        """Answer the next calls whose path, without its version, ends so."""
        self.scripts.setdefault((method, path), []).extend(scripts)

    def asked(self, method: str, path: str) -> list[tuple[dict[str, str], str]]:
        """Query and `X-Registry-Auth` of each call whose path ends so."""
        return [(q, a) for m, p, q, a in self.requests if m == method and p.endswith(path)]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        found = re.fullmatch(r"(?:/v(\d+\.\d+))?(/.*)", request.path)
        assert found is not None
        version, path = found[1], found[2]
        if version:
            self.versions.add(version)
        auth = request.headers.get("X-Registry-Auth", "")
        self.requests.append((request.method, path, dict(request.query), auth))
        for (method, end), scripts in self.scripts.items():
            if method == request.method and path.endswith(end) and scripts:
                return await scripts.pop(0)(request)
        handler = {
            "/_ping": self._ping,
            "/containers/create": self._create,
            "/containers/json": self._list,
            "/images/create": self._pull,
        }.get(path)
        if handler:
            return await handler(request)
        kind, name, *rest = path.strip("/").split("/")
        if kind == "images":
            return self._image("/".join([name, *rest]).removesuffix("/json"))
        return await self._container(request, name, rest[0] if rest else "")

    async def _ping(self, request: web.Request) -> web.Response:
        del request
        headers = {"Api-Version": self.api_version} if self.api_version else {}
        return web.Response(text="OK", headers=headers)

    async def _create(self, request: web.Request) -> web.Response:
        self.containers[request.query["name"]] = Container(await request.json())
        return web.json_response({"Id": request.query["name"], "Warnings": []}, status=201)

    async def _list(self, request: web.Request) -> web.Response:
        wanted = {tuple(each.split("=")) for each in json.loads(request.query["filters"])["label"]}
        return web.json_response(
            [
                {"Id": name, "Labels": each.body["Labels"]}
                for name, each in self.containers.items()
                if wanted <= set(each.body["Labels"].items())
            ]
        )

    async def _pull(self, request: web.Request) -> web.Response:
        name = f"{request.query['fromImage']}:{request.query['tag']}".removeprefix("docker.io/")
        self.images[name] = CCENV
        return web.Response(body=b'{"status":"Pulling"}\r\n{"status":"Done"}\r\n')

    def _image(self, name: str) -> web.Response:
        if name not in self.images:
            return refusal(404, f"No such image: {name}")
        return web.json_response(self.images[name])

    async def _container(self, request: web.Request, name: str, what: str) -> web.StreamResponse:
        container = self.containers.get(name)
        if container is None:
            return refusal(404, f"No such container: {name}")
        match request.method, what:
            case "PUT", "archive":
                container.uploads.append((request.query["path"], await request.read()))
                return web.Response()
            case "POST", "attach":
                return await self._attach(request, container)
            case "POST", "start":
                container.started.set()
                return web.Response(status=204)
            case "POST", "wait":
                await container.ended.wait()
                return web.json_response({"StatusCode": self.exit_code, "Error": None})
            case "GET", "archive":
                return web.Response(body=self.result)
            case "GET", "json":
                return web.json_response({"State": self.state})
            case _:
                self.containers.pop(name).ended.set()
                return web.Response(status=204)

    async def _attach(self, request: web.Request, container: Container) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await container.started.wait()
        await response.write(self.frames)
        await self.may_end.wait()
        container.ended.set()
        return response


def refusal(status: int, message: str) -> web.Response:
    """An error as a daemon tells it."""
    return web.json_response({"message": message}, status=status)


def always(response: Callable[[], web.Response]) -> Script:
    """A script that gives one answer."""

    async def script(_: web.Request) -> web.StreamResponse:
        return response()

    return script


def breaks(*parts: bytes) -> Script:
    """A script that begins to answer, and breaks off."""

    async def script(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for part in parts:
            await response.write(part)
        if request.transport:
            request.transport.abort()
        return response

    return script
