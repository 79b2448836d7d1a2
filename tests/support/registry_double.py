"""
A double of an OCI registry, on loopback, with the faults that a real one cannot be made to have.

How Peitho gets on with a real one is told by tests/conformance/test_registries.py.
"""

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Self

from aiohttp import web

from peitho.clients.registry.api import Registry
from peitho.clients.registry.transport import RegistryCredentials, RegistryEndpoint
from peitho.clients.retries import RetryPolicy
from tests.support.loopback import on_loopback

Script = Callable[[web.Request], Awaitable[web.StreamResponse | None]]

QUICK = RetryPolicy(attempts=3, first_seconds=0.01, longest_seconds=2, jitter_seconds=0)
USER = RegistryCredentials("robot", "Harbor12345")


@dataclass(slots=True)
class Repository:
    """What one repository has."""

    blobs: set[str] = field(default_factory=set)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)


class RegistryDouble:
    """Keeps blobs and manifests; answers as scripted where a script is left, once each."""

    def __init__(self) -> None:
        self.address = ""
        self.prefix = ""
        self.blobs: dict[str, bytes] = {}
        self.repositories: dict[str, Repository] = {}
        self.uploads: dict[str, bytearray] = {}
        self.requests: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.scripts: dict[tuple[str, str], list[Script]] = {}
        self.auth = ""
        self.mounts = True
        self.password = USER.password
        self.tokens: list[str] = []
        self.good: set[str] = set()
        self.scopes: list[list[str]] = []
        self.sent: list[str] = []
        self.read: list[str] = []
        self.token_seconds = 300

    @classmethod
    @asynccontextmanager
    async def start(cls, *, auth: str = "", prefix: str = "") -> AsyncIterator[Self]:
        """The server, while it runs; `auth` is `basic` or `bearer`."""
        double = cls()
        double.auth, double.prefix = auth, prefix
        app = web.Application(client_max_size=1 << 30)
        app.router.add_get("/token", double._token)
        app.router.add_route("*", "/{path:.*}", double._answer)
        async with on_loopback(app) as double.address:
            yield double

    @property
    def endpoint(self) -> RegistryEndpoint:
        """Where it is."""
        return RegistryEndpoint(self.address, self.prefix, insecure=True)

    @asynccontextmanager
    async def client(
        self, credentials: RegistryCredentials | None = USER
    ) -> AsyncIterator[Registry]:
        """Peitho's client of this registry."""
        async with Registry.connect(self.endpoint, lambda: credentials, patience=QUICK) as registry:
            yield registry

    def repository(self, name: str) -> Repository:
        """What a repository has; made if it is not there."""
        return self.repositories.setdefault(name, Repository())

    def add_blob(self, repository: str, content: bytes) -> str:
        """Put a blob there, as if it had been pushed."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.blobs[digest] = content
        self.repository(repository).blobs.add(digest)
        return digest

    def script(self, method: str, kind: str, *scripts: Script) -> None:
        """Answer the next calls so; kinds are `blob`, `manifest`, `uploads`, `upload`, `token`."""
        self.scripts.setdefault((method, kind), []).extend(scripts)

    def count(self, method: str, kind: str) -> int:
        """How often a call was made."""
        return self.requests.count((method, kind))

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        root = f"{self.prefix}/v2/"
        if not request.path.startswith(root):
            return web.Response(status=404, text="page not found")
        name, kind, last = _parts(request.path.removeprefix(root))
        self.requests.append((request.method, kind))
        self.headers.append(dict(request.headers))
        if refused := self._unauthorized(request):
            return refused
        scripts = self.scripts.get((request.method, kind))
        if scripts and (scripted := await scripts.pop(0)(request)) is not None:
            return scripted
        if kind == "manifest":
            return await self._manifest(request, self.repository(name), last)
        if kind == "blob":
            return self._blob(request, self.repository(name), last)
        return await self._upload(request, name, last)

    def _unauthorized(self, request: web.Request) -> web.Response | None:
        said = request.headers.get("Authorization", "")
        basic = base64.b64encode(f"{USER.username}:{self.password}".encode()).decode()
        challenge = 'Basic realm="double"'
        if self.auth == "bearer":
            challenge = f'Bearer realm="http://{self.address}/token",service="double"'
        if not self.auth or (said == f"Basic {basic}" and self.auth == "basic"):
            return None
        if self.auth == "bearer" and said.removeprefix("Bearer ") in self.good:
            return None
        return refusal(401, "UNAUTHORIZED", f"not {said}", {"WWW-Authenticate": challenge})

    async def _token(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(("GET", "token"))
        scripts = self.scripts.get(("GET", "token"))
        if scripts and (scripted := await scripts.pop(0)(request)):
            return scripted
        basic = base64.b64encode(f"{USER.username}:{self.password}".encode()).decode()
        said = request.headers.get("Authorization")
        if said not in (None, f"Basic {basic}"):
            return refusal(401, "UNAUTHORIZED", f"incorrect: {said}")
        self.scopes.append(request.query.getall("scope"))
        token = f"token-{len(self.scopes)}"
        self.good.add(token)
        return web.json_response({"token": token, "expires_in": self.token_seconds})

    async def _manifest(
        self, request: web.Request, repository: Repository, reference: str
    ) -> web.StreamResponse:
        if request.method == "PUT":
            body = await request.read()
            digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
            document = json.loads(body)
            parts = (*document.get("layers", ()), *filter(None, [document.get("config")]))
            needed = [each["digest"] for each in parts]  # an index needs none
            if not set(needed) <= repository.blobs:
                return refusal(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry")
            for each in (reference, digest):
                repository.manifests[each] = (request.headers["Content-Type"], body)
            return web.Response(status=201, headers={"Docker-Content-Digest": digest})
        if reference not in repository.manifests:
            return refusal(404, "MANIFEST_UNKNOWN", "manifest unknown")
        media_type, body = repository.manifests[reference]
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        if request.method == "DELETE":
            kept = {key: each for key, each in repository.manifests.items() if each[1] != body}
            repository.manifests = kept
            return web.Response(status=202)
        headers = {"Docker-Content-Digest": digest, "Content-Type": media_type}
        return web.Response(body=body, headers=headers)

    def _blob(
        self, request: web.Request, repository: Repository, digest: str
    ) -> web.StreamResponse:
        if digest not in repository.blobs:
            return refusal(404, "BLOB_UNKNOWN", "blob unknown to registry")
        if request.method == "GET":
            self.read.append(digest)
        content, status = self.blobs[digest], 200
        if asked := request.headers.get("Range"):
            content, status = content[int(asked.removeprefix("bytes=").rstrip("-")) :], 206
        return web.Response(status=status, body=content)

    async def _upload(self, request: web.Request, name: str, last: str) -> web.StreamResponse:
        repository = self.repository(name)
        if request.method == "POST":
            mount, holder = request.query.get("mount"), request.query.get("from", "")
            if self.mounts and mount and mount in self.repository(holder).blobs:
                repository.blobs.add(mount)
                return web.Response(status=201)
            last = f"u{len(self.uploads)}"
            self.uploads[last] = bytearray()
            return self._told(name, last, 202)
        if last not in self.uploads:
            return refusal(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        if request.method == "GET":
            return self._told(name, last, 204)
        kept = self.uploads[last]
        asked = request.headers.get("Content-Range", f"{len(kept)}-")
        if int(asked.partition("-")[0]) != len(kept):
            return refusal(416, "RANGE_INVALID", "out of order")
        async for chunk in request.content.iter_any():
            kept += chunk
        if request.method == "PATCH":
            return self._told(name, last, 202)
        digest = f"sha256:{hashlib.sha256(kept).hexdigest()}"
        if digest != request.query["digest"]:
            return refusal(400, "DIGEST_INVALID", "provided digest did not match")
        del self.uploads[last]
        self.sent.append(digest)
        self.add_blob(name, bytes(kept))
        return web.Response(status=201)

    def _told(self, name: str, upload: str, status: int) -> web.Response:
        size = len(self.uploads[upload])
        headers = {
            "Location": f"{self.prefix}/v2/{name}/blobs/uploads/{upload}?_state=a%3D%3D",
            "Range": f"0-{max(0, size - 1)}",
        }
        return web.Response(status=status, headers=headers)


def _parts(path: str) -> tuple[str, str, str]:
    for separator, kind in (("/manifests/", "manifest"), ("/blobs/uploads/", "upload")):
        if separator in path:
            name, _, last = path.partition(separator)
            return name, kind if last else "uploads", last
    name, _, last = path.partition("/blobs/")
    return name, "blob", last


def refusal(
    status: int, code: str, message: str, headers: dict[str, str] | None = None
) -> web.Response:
    """An error as the distribution specification has it."""
    body = {"errors": [{"code": code, "message": message, "detail": None}]}
    return web.json_response(body, status=status, headers=headers)


def says(status: int, **headers: str) -> Script:
    """A script that gives a status, and headers with dashes for underscores."""
    named = {key.replace("_", "-"): value for key, value in headers.items()}

    async def script(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers=named, text="said so")

    return script


def normally() -> Script:
    """A script that changes nothing."""

    async def script(_: web.Request) -> None:
        return None

    return script


def cut(double: RegistryDouble, *, after_bytes: int, keep: bool = True) -> Script:
    """A script that breaks the connection in a body; what came may be kept, or the upload lost."""

    async def script(request: web.Request) -> web.StreamResponse:
        upload = request.path.rpartition("/")[2]
        content = await request.content.readexactly(after_bytes)
        if keep:
            double.uploads[upload] += content
        else:
            double.uploads.pop(upload, None)
        assert request.transport is not None
        request.transport.abort()
        await asyncio.sleep(0)
        return web.Response()

    return script
