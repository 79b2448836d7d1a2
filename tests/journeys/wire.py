"""A Peitho whose way to the API server can be cut, can fall silent, and can lose an answer."""

import asyncio
import base64
import json
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.lab.cluster import Cluster
from tests.lab.peitho import Peitho, namespace

_CHUNK_BYTES = 65536


@dataclass(eq=False)
class _Link:
    """A connection: its writers at both ends, and whether anything passes any more."""

    writers: list[asyncio.StreamWriter]
    silent: bool = False
    keeps: asyncio.Event | None = None


@dataclass
class _Trap:
    """Something that is to happen once, and whether it has."""

    sprung: asyncio.Event = field(default_factory=asyncio.Event)
    request: re.Pattern[bytes] | None = None
    bytes_left: int = 0


class Wire:
    """
    A TCP proxy before the API server.

    With `tls` it speaks TLS to the API server and plain HTTP to Peitho, so that requests are seen.
    """

    def __init__(self, host: str, port: int, *, tls: ssl.SSLContext | None = None) -> None:
        self._target = (host, port)
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._is_silent = False
        self._keep = _Trap()
        self._break = _Trap()
        self.port = 0

    async def connect(self) -> None:
        """Let new connections through."""
        self._is_silent = False
        if self._server is None:
            self._server = await asyncio.start_server(self._relay, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Drop all connections, and refuse new ones."""
        if self._server:
            self._server.close()
            self._server = None
        for link in self._links:
            for writer in link.writers:
                writer.transport.abort()

    def cut_after(self, count: int) -> asyncio.Event:
        """Cut it once so many more bytes have come from the API server; set when that is done."""
        self._break = _Trap(bytes_left=count)
        return self._break.sprung

    def stall(self, *, new: bool = True) -> None:
        """Keep connections open and pass nothing by them, never again; nor by `new` ones."""
        self._is_silent = new
        for link in self._links:
            link.silent = True

    def keep_answer(self, request: str) -> asyncio.Event:
        """Keep the answer to the next request like this (`POST /.*/jobs`); set once it is there."""
        self._keep = _Trap(request=re.compile(request.encode()))
        return self._keep.sprung

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link([writer], silent=self._is_silent)
        self._links.add(link)
        try:
            if link.silent:
                await _swallow(reader)
                return
            there, back = await asyncio.open_connection(*self._target, ssl=self._tls)
            link.writers.append(back)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._ask(link, reader, back))
                tasks.create_task(self._answer(link, there, writer))
        except* OSError:
            pass
        finally:
            self._links.discard(link)
            for each in link.writers:
                each.close()

    async def _ask(
        self, link: _Link, peitho: asyncio.StreamReader, server: asyncio.StreamWriter
    ) -> None:
        while data := await peitho.read(_CHUNK_BYTES):
            if link.silent:
                continue
            if self._keep.request and self._keep.request.match(data):
                link.keeps, self._keep = self._keep.sprung, _Trap()
            server.write(data)
            await server.drain()
        raise ConnectionResetError  # one end of a cut wire is as good as two

    async def _answer(
        self, link: _Link, server: asyncio.StreamReader, peitho: asyncio.StreamWriter
    ) -> None:
        while data := await server.read(_CHUNK_BYTES):
            if link.keeps:
                link.silent = True
                link.keeps.set()
            if link.silent:
                continue
            if left := self._break.bytes_left:
                self._break.bytes_left = max(0, left - len(data))
                peitho.write(data[:left])
                await peitho.drain()
                if not self._break.bytes_left:
                    self._break.sprung.set()
                    self.cut()
                continue
            peitho.write(data)
            await peitho.drain()
        if link.silent:  # an end is news too, and does not pass
            await asyncio.Event().wait()
        raise ConnectionResetError


async def _swallow(reader: asyncio.StreamReader) -> None:
    while await reader.read(_CHUNK_BYTES):
        pass


@asynccontextmanager
async def wired(
    cluster: Cluster, folder: Path, *, seen: bool = False, **settings: Any
) -> AsyncIterator[tuple[Peitho, Wire]]:
    """A Peitho behind a wire, through which its requests can be `seen` or go as TLS."""
    async with (
        namespace(cluster) as name,
        Peitho.start(cluster, name, folder, **settings) as peitho,
    ):
        await peitho.end()
        kubeconfig = folder / "kubeconfig"
        config = json.loads(kubeconfig.read_text())
        there = config["clusters"][0]["cluster"]
        server = urlsplit(there["server"])
        wire = Wire(server.hostname or "", server.port or 443, tls=_tls(there) if seen else None)
        await wire.connect()
        there["server"] = f"http{'' if seen else 's'}://127.0.0.1:{wire.port}"
        kubeconfig.write_text(json.dumps(config))
        await peitho.begin()
        try:
            yield peitho, wire
        finally:
            await peitho.end()
            wire.cut()


def _tls(there: dict[str, str]) -> ssl.SSLContext:
    authority = base64.b64decode(there["certificate-authority-data"]).decode()
    return ssl.create_default_context(cadata=authority)
