"""
A double of what a rehearsal speaks to, which answers rightly but for what a test has it do wrong.

A rehearsal with a real Peitho is told by tests/journeys; this one is for faults that it has not.
"""

import asyncio
import io
import re
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Self

from aiohttp import web

from peitho.api.connection import Connection, Taken
from peitho.formats.docker.streams import STDOUT, frame
from tests.support.in_process import listening

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_VERSION = re.compile(r"^/v[0-9.]+(?=/)")
_GO_VERSION = b"go version go1.22.0 linux/amd64\n"
_PATH_STAT = {"X-Docker-Container-Path-Stat": "e30="}


@dataclass(slots=True)
class RehearsedDaemon:
    """Builds nothing: a started chaincode is a connection to the peer's address."""

    port: int = 0
    build_code: int = 0
    build_output: bytes = b"compiled\n"
    exit_code: int = 7
    last_words: bytes = b"bye\n"
    registers: bool = True
    has_files: bool = True
    api_version: str = "1.47"
    wrong: dict[str, web.Response] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    _images: set[str] = field(default_factory=set)
    _commands: dict[str, list[str]] = field(default_factory=dict)
    _environment: list[str] = field(default_factory=list)
    _running: list[asyncio.Task[None]] = field(default_factory=list)
    _ended: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    @asynccontextmanager
    async def start(cls) -> AsyncIterator[Self]:
        """The daemon on loopback, while it runs."""
        double = cls()
        app = web.Application(middlewares=[double._scripted])
        for prefix in ("", "/v{version:[0-9.]+}"):
            for (method, path), handler in double._routes().items():
                app.router.add_route(method, prefix + path, handler)
        try:
            # Served as Peitho serves it: aiohttp alone hangs up on a half-close.
            async with listening(app) as url:
                double.port = int(url.rpartition(":")[2])
                yield double
        finally:
            for task in double._running:
                await task

    def _routes(self) -> dict[tuple[str, str], Handler]:
        return {
            ("*", "/_ping"): self._greet,
            ("GET", "/version"): self._greet,
            ("GET", "/images/{name:.+}/json"): self._image,
            ("DELETE", "/images/{name:.+}"): self._done,
            ("POST", "/build"): self._build,
            ("POST", "/containers/create"): self._create,
            ("PUT", "/containers/{name}/archive"): self._done,
            ("GET", "/containers/{name}/archive"): self._archive,
            ("POST", "/containers/{name}/attach"): self._attach,
            ("GET", "/containers/{name}/logs"): self._logs,
            ("POST", "/containers/{name}/start"): self._start,
            ("POST", "/containers/{name}/wait"): self._wait,
            ("POST", "/containers/{name}/stop"): self._stop,
            ("POST", "/containers/{name}/kill"): self._kill,
            ("DELETE", "/containers/{name}"): self._remove,
        }

    @web.middleware
    async def _scripted(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path}")
        call = f"{request.method} {_VERSION.sub('', request.path)}"
        for beginning, response in self.wrong.items():
            if call.startswith(beginning):
                return response
        return await handler(request)

    async def _greet(self, _: web.Request) -> web.StreamResponse:
        return web.Response(headers={"Api-Version": self.api_version})

    async def _done(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        return web.Response()

    async def _image(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name in self._images or "fabric-" in name:
            return web.json_response({"Id": "sha256:0"})
        return web.json_response({"message": f"No such image: {name}:latest"}, status=404)

    async def _build(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        self._images.add(request.query["t"])
        return web.json_response({"stream": "done"})

    async def _archive(self, _: web.Request) -> web.StreamResponse:
        return web.Response(body=_output(), headers=_PATH_STAT)

    async def _logs(self, _: web.Request) -> web.StreamResponse:
        return web.Response(body=frame(STDOUT, self.last_words))

    async def _stop(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=204 if request.match_info["name"] in self._commands else 404)

    async def _kill(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=409 if request.match_info["name"] in self._commands else 404)

    async def _remove(self, request: web.Request) -> web.StreamResponse:
        command = self._commands.pop(request.match_info["name"], None)
        return web.Response(status=204 if command else 404)

    async def _create(self, request: web.Request) -> web.Response:
        body = await request.json()
        name = request.query.get("name") or f"build{len(self.requests)}"
        self._commands[name] = body["Cmd"]
        self._environment = body.get("Env") or self._environment
        return web.json_response({"Id": name}, status=201)

    async def _attach(self, request: web.Request) -> web.StreamResponse:
        connection = Connection.of(request)
        connection.take_over()
        name = request.match_info["name"]
        output = _GO_VERSION if self._commands[name] == ["go", "version"] else self.build_output
        is_raw = request.path.startswith("/v1.")
        await connection.write(
            b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        )
        await connection.write(output if is_raw else frame(STDOUT, output))
        connection.close()
        return Taken()

    async def _start(self, request: web.Request) -> web.StreamResponse:
        command = self._commands[request.match_info["name"]]
        if command[0] == "chaincode":
            self._ended = asyncio.Event()
            if self.registers:
                await self._register(command)
            else:
                self._ended.set()
        return web.Response(status=204)

    async def _register(self, command: list[str]) -> None:
        host, _, port = command[1].removeprefix("-peer.address=").rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        named = self._environment[0].partition("=")[2]
        files = "true" if self.has_files else "false"
        writer.write(f"register {named} files={files}\n".encode())
        running = self._run(reader, writer, self._ended)
        self._running.append(asyncio.get_running_loop().create_task(running))

    async def _run(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ended: asyncio.Event
    ) -> None:
        while (line := await reader.readline()) and line != b"crash\n":
            writer.write(line.replace(b"call", b"answer"))
        ended.set()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    async def _wait(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if self._commands[name][0] != "chaincode":
            code = 0 if self._commands[name] == ["go", "version"] else self.build_code
            return web.json_response({"StatusCode": code})
        await self._ended.wait()
        return web.json_response({"StatusCode": self.exit_code})


def _output() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        header = tarfile.TarInfo("./chaincode")
        header.size = 3
        archive.addfile(header, io.BytesIO(b"elf"))
    return out.getvalue()
