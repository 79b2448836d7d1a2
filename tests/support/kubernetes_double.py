"""
A double of the Kubernetes API server, on loopback.

For faults that a real one cannot be made to do (a watch that dies in the middle, 410, odd bodies),
and for tests of the API that need no more of a cluster than an empty namespace.  What Peitho does
with a real cluster is told by tests/journeys.
"""

import asyncio
import json
from collections import UserDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Self

from aiohttp import web

from peitho.clients.kubernetes.api import Kubernetes
from peitho.formats.kubernetes.objects import Manifest
from tests.support.loopback import on_loopback

# The type of an event, a path, and the object.
Change = tuple[str, str, Manifest]
Script = Callable[[web.Request], Awaitable[web.StreamResponse]]

KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: double
contexts: [{{name: double, context: {{cluster: double, user: double, namespace: ns}}}}]
users: [{{name: double, user: {{}}}}]
clusters:
- name: double
  cluster: {{server: "{url}", insecure-skip-tls-verify: true}}
"""


class Objects(UserDict[str, Manifest]):
    """
    Objects by path, whose watchers are told when one comes, is put anew, or goes.

    What is changed inside of one is not: see `ApiServer.changed`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._followers: list[asyncio.Queue[Change | None]] = []

    @contextmanager
    def followed(self) -> Iterator[asyncio.Queue[Change | None]]:
        """Changes, as they come; None when the watch is to end."""
        changes = asyncio.Queue[Change | None]()
        self._followers.append(changes)
        try:
            yield changes
        finally:
            self._followers.remove(changes)

    def end_watches(self) -> None:
        """End the watches that are open."""
        for changes in self._followers:
            changes.put_nowait(None)

    def __setitem__(self, path: str, item: Manifest) -> None:
        self._tell("MODIFIED" if path in self else "ADDED", path, item)
        super().__setitem__(path, item)

    def __delitem__(self, path: str) -> None:
        self._tell("DELETED", path, self[path])
        super().__delitem__(path)

    def _tell(self, event: str, path: str, item: Manifest) -> None:
        for changes in self._followers:
            changes.put_nowait((event, path, item))


class ApiServer:
    """
    Keeps objects by path; answers as scripted where a script is left, once each.

    What is in another namespace than `ns` has that before it: `other:secrets/x`.
    """

    def __init__(self) -> None:
        self.objects = Objects()
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.scripts: dict[tuple[str, str], list[Script]] = {}
        self.rules: dict[tuple[str, str], Script] = {}
        self.version = 10
        self.url = ""
        self.asked = asyncio.Condition()
        self.news: asyncio.Queue[Manifest] = asyncio.Queue()

    @classmethod
    @asynccontextmanager
    async def start(cls) -> AsyncIterator[Self]:
        """The server, while it runs."""
        double = cls()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", double._answer)
        async with on_loopback(app, handler_cancellation=True) as address:
            double.url = f"http://{address}"
            yield double

    def kubeconfig(self, directory: Path) -> Path:
        """A kubeconfig file that leads here."""
        path = directory / "kubeconfig"
        path.write_text(KUBECONFIG.format(url=self.url))
        return path

    @asynccontextmanager
    async def client(self, directory: Path) -> AsyncIterator[Kubernetes]:
        """Peitho's client of this server."""
        async with Kubernetes.connect(kubeconfig=self.kubeconfig(directory), namespace="") as found:
            yield found

    def script(self, method: str, kind: str, *scripts: Script) -> None:
        """Answer the next calls to a collection or an object so; `WATCH` is a method here."""
        self.scripts.setdefault((method, kind), []).extend(scripts)

    def refuse_to_tell_of_secrets(self) -> None:
        """No watch of Secrets, as with a Role that does not permit it: they are listed."""
        self.rule("WATCH", "secrets", always(lambda: refusal(403, "Forbidden", "no watch")))
        self.objects.end_watches()

    def rule(self, method: str, kind: str, script: Script) -> None:
        """Answer all calls so for which no script is left."""
        self.rules[method, kind] = script

    async def until_asked(self, method: str, kind: str, *, times: int = 1) -> None:
        """Return once a call was made that often."""
        async with self.asked:
            await self.asked.wait_for(lambda: self.count(method, kind) >= times)

    def count(self, method: str, kind: str) -> int:
        """How often a call was made."""
        return sum((method, kind) == each[:2] for each in self.requests)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        namespace, _, kind = request.path.partition("/namespaces/")[2].partition("/")
        if namespace not in ("", "ns"):
            kind = f"{namespace}:{kind}"
        method = "WATCH" if request.query.get("watch") else request.method
        body = await request.read()
        async with self.asked:
            self.requests.append((method, kind, dict(request.query), body))
            self.asked.notify_all()
        if scripts := self.scripts.get((method, kind)):
            return await scripts.pop(0)(request)
        if rule := self.rules.get((method, kind)):
            return await rule(request)
        if method == "WATCH" and kind.endswith("secrets"):
            return await self._tell_all(kind, request)
        if method == "WATCH":
            return await self._tell(request)
        if method == "POST" and request.query.get("dryRun"):
            return answer(json.loads(body), status=201)
        wanted = request.query.get("labelSelector", "")
        return self._plain(method, kind, json.loads(body) if body else {}, wanted)

    async def _tell(self, request: web.Request) -> web.StreamResponse:
        """A watch that tells the news, each as it is by then; silent without any."""
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        while True:
            await response.write(json.dumps(await self.news.get()).encode() + b"\n")

    async def _tell_all(self, kind: str, request: web.Request) -> web.StreamResponse:
        """A watch that tells what becomes of all objects of a kind."""
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        wanted = request.query.get("labelSelector", "")
        with self.objects.followed() as changes:
            while change := await changes.get():
                event, path, item = change
                if path.rpartition("/")[0] == kind and _has_labels(item, wanted):
                    metadata = item["metadata"] | {"resourceVersion": str(self.version)}
                    told = {"type": event, "object": item | {"metadata": metadata}}
                    await response.write(json.dumps(told).encode() + b"\n")
        return response

    def _plain(self, method: str, kind: str, body: Manifest, wanted: str = "") -> web.Response:
        self.version += 1
        if method == "POST":
            return self._create(f"{kind}/{body['metadata']['name']}", body)
        if "/" not in kind:
            items = [
                each
                for path, each in self.objects.items()
                if path.startswith(f"{kind}/") and _has_labels(each, wanted)
            ]
            return answer({"items": items, "metadata": {"resourceVersion": str(self.version)}})
        if kind not in self.objects:
            return refusal(404, "NotFound", f'"{kind}" not found')
        if method == "DELETE":
            return answer(self.objects.pop(kind))
        if method == "PATCH":
            _merge(self.objects[kind], body)
            self.changed(kind)
        return answer(self.objects[kind])

    def _create(self, path: str, body: Manifest) -> web.Response:
        if path in self.objects:
            return refusal(409, "AlreadyExists", f'"{path}" already exists')
        return answer(self.make(path, body), status=201)

    def changed(self, path: str) -> None:
        """Let watchers know that something was changed inside of an object."""
        self.version += 1
        found = self.objects[path]
        found["metadata"]["resourceVersion"] = str(self.version)
        self.objects[path] = found

    def make(self, path: str, body: Manifest) -> Manifest:
        """Keep an object, as if it was created."""
        body["metadata"] |= {"uid": f"u-{self.version}", "resourceVersion": str(self.version)}
        self.objects[path] = body
        return body


def answer(body: object, *, status: int = 200) -> web.Response:
    """A body of JSON; one that refuses for now may be asked again at once."""
    return web.json_response(body, status=status, headers={"Retry-After": "0"})


def refusal(code: int, reason: str, message: str) -> web.Response:
    """A Status, as the API server refuses with."""
    return answer(
        {"kind": "Status", "code": code, "reason": reason, "message": message}, status=code
    )


def always(response: Callable[[], web.Response]) -> Script:
    """A script that gives one answer."""

    async def script(_: web.Request) -> web.StreamResponse:
        return response()

    return script


def after(word: asyncio.Event, script: Script) -> Script:
    """The same, once the word was given."""

    async def later(request: web.Request) -> web.StreamResponse:
        await word.wait()
        return await script(request)

    return later


def watch(*parts: Manifest | bytes, stay: bool = False, dies: bool = False) -> Script:
    """A watch that tells events (or bytes as they are), then ends, stays silent, or breaks off."""

    async def script(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for part in parts:
            await response.write(
                part if isinstance(part, bytes) else json.dumps(part).encode() + b"\n"
            )
        if stay:
            await asyncio.Event().wait()
        if dies and request.transport:
            request.transport.abort()
        return response

    return script


def _has_labels(found: Manifest, wanted: str) -> bool:
    labels = found["metadata"].get("labels", {})
    pairs = (pair.partition("=") for pair in wanted.split(",") if pair)
    return all(labels.get(key) == value for key, _, value in pairs)


def _merge(into: Manifest, changes: Manifest) -> None:
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        elif value is None:
            into.pop(key, None)
        else:
            into[key] = value
