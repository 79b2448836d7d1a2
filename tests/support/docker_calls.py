"""The Docker API called by hand, for what no peer's library would send."""

import io
import ssl
import tarfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

import aiohttp

from tests.lab.peitho import Peitho

_DOCKERFILE = """FROM hyperledger/fabric-baseos:2.5
ADD binpackage.tar /usr/local/bin
LABEL org.hyperledger.fabric.chaincode.type="GOLANG" \\
      org.hyperledger.fabric.version="2.5.16"
ENV CORE_CHAINCODE_BUILDLEVEL=2.5.16
"""
# Stands in for a compiled chaincode where only its life matters: nothing has to be built for it.
_SCRIPT = "#!/bin/sh\necho started with \"$@\"\ntrap 'exit 143' TERM\n{body}\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, and the body as JSON where it is, or as text."""

    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def message(self) -> str:
        """Docker's error message."""
        return str(self.body["message"])


class BareCalls:
    """Calls to a Docker API, on bare paths."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def call(self, method: str, path: str, **others: Any) -> Answer:
        """One call, whatever comes; `data` may be bytes of any size."""
        if isinstance(data := others.get("data"), bytes):
            others["data"] = io.BytesIO(data)
        async with self._session.request(method, path, **others) as response:
            content = await response.read()
            is_json = response.content_type == "application/json" and content.count(b"\n") <= 1
            body = await response.json() if content and is_json else content.decode()
            return Answer(response.status, body, response.headers)

    async def create(
        self, name: str, image: str, command: list[str] | None = None, env: list[str] | None = None
    ) -> Answer:
        """Create a container: a chaincode, or a build if there is no name."""
        command = command or ["chaincode", "-peer.address=10.0.0.1:7052"]
        body = {"Image": image, "Cmd": command, "Env": env or []}
        parameters = {"name": name} if name else {}
        return await self.call("POST", "/containers/create", params=parameters, json=body)

    async def create_build(
        self, script: str, *, image: str = "hyperledger/fabric-ccenv:2.5"
    ) -> str:
        """The ID of a build container that will run a shell script."""
        answer = await self.create("", image, ["/bin/sh", "-c", script])
        assert 201 == answer.status, answer
        return str(answer.body["Id"])

    async def put(self, container: str, content: Any, *, path: str = "/chaincode/input") -> Answer:
        """Upload an archive."""
        return await self.call(
            "PUT", f"/containers/{container}/archive", params={"path": path}, data=content
        )

    async def download(self, container: str, path: str) -> bytes:
        """The archive of a path."""
        parameters = {"path": path}
        url = f"/containers/{container}/archive"
        async with self._session.get(url, params=parameters) as response:
            assert response.status == 200, await response.text()
            return await response.read()

    async def start(self, container: str) -> Answer:
        """Start a container."""
        return await self.call("POST", f"/containers/{container}/start")

    async def stop(self, container: str) -> Answer:
        """Stop a container."""
        return await self.call("POST", f"/containers/{container}/stop", params={"t": "0"})

    async def kill(self, container: str) -> Answer:
        """Kill a container."""
        return await self.call("POST", f"/containers/{container}/kill")

    async def wait(self, container: str, *, condition: str = "") -> int:
        """The exit code of a container, once it has ended, or a condition of Docker's holds."""
        parameters = {"condition": condition} if condition else {}
        answer = await self.call("POST", f"/containers/{container}/wait", params=parameters)
        assert 200 == answer.status, answer
        return int(answer.body["StatusCode"])

    async def remove(self, container: str) -> Answer:
        """Remove a container by force."""
        return await self.call("DELETE", f"/containers/{container}", params={"force": "1"})

    async def inspect(self, container: str) -> dict[str, Any]:
        """`docker inspect`."""
        answer = await self.call("GET", f"/containers/{container}/json")
        assert 200 == answer.status, answer
        return dict(answer.body)

    async def build(self, name: str, context: bytes) -> Answer:
        """Build an image from a context."""
        return await self.call("POST", "/build", params={"t": name}, data=context)

    async def make_image(self, name: str, body: str = "while true; do sleep 0.1; done") -> None:
        """An image with a shell script for a chaincode."""
        script = _SCRIPT.format(body=body).encode()
        answer = await self.build(name, context(archive({"chaincode": (0o755, script)})))
        assert 200 == answer.status, answer

    async def launch(self, name: str, image: str) -> Answer:
        """What a peer does to launch a chaincode: stop, kill, remove, create, upload, start."""
        await self.stop(name)
        await self.kill(name)
        await self.remove(name)
        created = await self.create(name, image)
        if created.status != 201:
            return created
        files = archive({"/etc/hyperledger/fabric/client.key": (0o644, b"key of a test")})
        put = await self.put(name, files, path="/")
        return put if put.status != 200 else await self.start(name)


class Calls(BareCalls):
    """Calls to one Peitho of the tests."""

    def __init__(self, peitho: Peitho, session: aiohttp.ClientSession) -> None:
        super().__init__(session)
        self.peitho = peitho

    @classmethod
    @asynccontextmanager
    async def to(
        cls, peitho: Peitho, *, address: str = "127.0.0.1", tls: ssl.SSLContext | None = None
    ) -> AsyncIterator[Self]:
        """Calls to a Peitho from an address, with no time-out but the test's."""
        no_limit = aiohttp.ClientTimeout(total=None)
        connector = aiohttp.TCPConnector(limit=0, local_addr=(address, 0), ssl=tls or True)
        url = peitho.http.replace("http:", "https:") if tls else peitho.http
        async with aiohttp.ClientSession(url, timeout=no_limit, connector=connector) as session:
            yield cls(peitho, session)


def archive(files: Mapping[str, tuple[int, bytes]]) -> bytes:
    """A gzip'd tar of files, with their modes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as target:
        for name, (mode, content) in files.items():
            header = tarfile.TarInfo(name)
            header.mode, header.size = mode, len(content)
            target.addfile(header, io.BytesIO(content))
    return out.getvalue()


def context(package: bytes, dockerfile: str = _DOCKERFILE) -> bytes:
    """A build context as peers send it."""
    files = {"Dockerfile": (0o644, dockerfile.encode()), "binpackage.tar": (0o644, package)}
    return archive(files)
