"""
A Docker daemon: the calls that a build needs, in the version that the daemon speaks.

The version is asked for once, and anew after the daemon was away: it may have been another's.
`attach` asks for no upgrade: dockerd then sends the output as the body of its answer, which ends
with the connection, and nothing has to be taken over (docs/decisions/0010-docker-client.md).
"""

import json
import re
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiohttp
from aiohttp import ClientResponse, ClientTimeout
from aiohttp.http_exceptions import LineTooLong

from peitho import __version__
from peitho.clients.keepalive import keep_alive
from peitho.clients.tls import CertificateFiles
from peitho.errors import Conflict, InvalidArgument, NotFound, PeithoError, Unavailable
from peitho.formats.docker import daemon, endpoints
from peitho.formats.docker.endpoints import DaemonEndpoint

Json = dict[str, Any]

# The newest API version this was tried with, and the oldest that has all calls.
_NEWEST = (1, 51)
_OLDEST = (1, 24)
_VERSION = re.compile(r"(\d{1,3})\.(\d{1,3})")
_CONNECT_SECONDS = 10.0
# Creating and removing take seconds on a busy disk, not minutes.
_CALL_SECONDS = 120.0
# The kubelet gives a probe one second.
_PING_SECONDS = 0.8
_ERROR_BYTES = 16 * 1024
_KINDS: Mapping[int, type[PeithoError]] = {400: InvalidArgument, 404: NotFound, 409: Conflict}


class DockerError(PeithoError):
    """The daemon refused a call, in its own words."""


@dataclass(frozen=True, slots=True)
class DaemonTlsFiles:
    """PEM files: the CA of the daemon's certificate, and the certificate and key we show it."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def trust(self) -> CertificateFiles | None:
        """Return what TLS connections are made with; None if there is no file."""
        if not (self.ca or self.certificate or self.key):
            return None
        named = "The TLS files of the Docker daemon"
        return CertificateFiles(named, self.ca, self.certificate, self.key, name="daemon")


class Docker:
    """One Docker daemon."""

    def __init__(
        self, http: aiohttp.ClientSession, endpoint: DaemonEndpoint, tls: DaemonTlsFiles
    ) -> None:
        self._http = http
        self._endpoint = endpoint
        self._trust = tls.trust() if endpoint.address else None
        self._version = ""

    @classmethod
    @asynccontextmanager
    async def connect(cls, endpoint: str, *, tls: DaemonTlsFiles) -> AsyncIterator[Self]:
        """
        Make a client of the daemon at `unix:///PATH` or `tcp://HOST:PORT`; nothing is sent yet.

        If there is any TLS file, TCP is TLS. Raises InvalidArgument for another endpoint.
        """
        parsed = endpoints.parse(endpoint)
        # Each call has a connection of its own: one that is kept may be dead when it is needed.
        connector: aiohttp.BaseConnector = (
            aiohttp.UnixConnector(parsed.path, limit=0, force_close=True)
            if parsed.path
            else aiohttp.TCPConnector(limit=0, force_close=True, socket_factory=_kept_alive)
        )
        async with aiohttp.ClientSession(
            connector=connector,
            timeout=ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
            headers={"Accept-Encoding": "identity", "User-Agent": f"peitho/{__version__}"},
            cookie_jar=aiohttp.DummyCookieJar(),
        ) as http:
            yield cls(http, parsed, tls)

    async def ping(self) -> None:
        """Return if the daemon answers within a second. Raises Unavailable."""
        await self._negotiate(seconds=_PING_SECONDS)

    async def version(self) -> Json:
        """Return the daemon's answer to `GET /version`."""
        return _object(await self._json("GET", "/version"))

    async def create(self, name: str, container: Json) -> None:
        """Create a container.  Raises NotFound for the image, Conflict for the name."""
        parameters = {"name": name}
        async with self._call(
            "POST", "/containers/create", params=parameters, json=container
        ) as response:
            await response.read()

    async def put_archive(self, container: str, path: str, archive: Path) -> None:
        """Unpack a tar, compressed or not, at a path of a container."""
        with archive.open("rb") as content:
            call = self._call(
                "PUT",
                f"/containers/{container}/archive",
                seconds=None,
                params={"path": path},
                headers={"Content-Type": "application/x-tar"},
                data=content,
            )
            async with call as response:
                await response.read()

    @asynccontextmanager
    async def attach(self, container: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Attach to a container: yields its output from now on, as Docker frames."""
        parameters = {"stream": "1", "stdout": "1", "stderr": "1"}
        path = f"/containers/{container}/attach"
        async with self._call("POST", path, seconds=None, params=parameters) as response:
            yield response.content.iter_any()

    async def start(self, container: str) -> None:
        """Return once the process runs."""
        async with self._call("POST", f"/containers/{container}/start") as response:
            await response.read()

    async def wait(self, container: str) -> int:
        """Return the exit code once the process has ended."""
        path = f"/containers/{container}/wait"
        answer = _object(await self._json("POST", path, seconds=None))
        code = answer.get("StatusCode")
        if answer.get("Error") or not isinstance(code, int):
            raise DockerError(f"the daemon could not wait for the container: {answer}")
        return code

    @asynccontextmanager
    async def get_archive(self, container: str, path: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Yield a tar of a path in a container. Raises NotFound."""
        call = self._call(
            "GET", f"/containers/{container}/archive", seconds=None, params={"path": path}
        )
        async with call as response:
            yield response.content.iter_any()

    async def inspect(self, container: str) -> Json:
        """Return all that the daemon knows of a container. Raises NotFound."""
        return _object(await self._json("GET", f"/containers/{container}/json"))

    async def remove(self, container: str) -> bool:
        """Kill and remove a container with its volumes; False if it was not there."""
        parameters = {"force": "1", "v": "1"}
        try:
            async with self._call(
                "DELETE", f"/containers/{container}", params=parameters
            ) as response:
                await response.read()
        except (NotFound, Conflict):  # gone, or being removed already
            return False
        return True

    async def find(self, labels: Mapping[str, str]) -> list[Json]:
        """List the containers that have the labels, running or not."""
        filters = {"label": [f"{key}={value}" for key, value in labels.items()]}
        parameters = {"all": "1", "filters": json.dumps(filters)}
        answer = await self._json("GET", "/containers/json", params=parameters)
        return [_object(container) for container in answer] if isinstance(answer, list) else []

    async def inspect_image(self, name: str) -> Json:
        """Return all that the daemon knows of an image of a valid name. Raises NotFound."""
        return _object(await self._json("GET", f"/images/{name}/json"))

    async def pull(self, repository: str, tag: str, *, auth: str) -> None:
        """
        Pull an image, and return once it is there.

        `tag` may be a digest, `auth` is the value of `X-Registry-Auth` or empty.
        Raises DockerError or NotFound with the registry's words.
        """
        parameters = {"fromImage": repository, "tag": tag}
        headers = {"X-Registry-Auth": auth} if auth else {}
        async with self._call(
            "POST", "/images/create", seconds=None, params=parameters, headers=headers
        ) as response:
            try:
                async for line in response.content:
                    if problem := line.strip() and daemon.pull_error(line):
                        raise DockerError(problem)
            except LineTooLong as error:
                raise DockerError(f"the progress of a pull cannot be read: {error}") from error

    async def _json(
        self, method: str, path: str, *, seconds: float | None = _CALL_SECONDS, **others: Any
    ) -> Any:
        async with self._call(method, path, seconds=seconds, **others) as response:
            body = await response.read()
        try:
            return json.loads(body)
        except ValueError:
            raise DockerError(f"the daemon answered what is no JSON: {body[:200]!r}") from None

    @asynccontextmanager
    async def _call(
        self, method: str, path: str, *, seconds: float | None = _CALL_SECONDS, **others: Any
    ) -> AsyncIterator[ClientResponse]:
        if not self._version:
            self._version = await self._negotiate(seconds=_CALL_SECONDS)
        path = f"/v{self._version}{path}"
        with self._reachable():
            async with self._request(method, path, seconds, **others) as response:
                if response.status >= 400:  # noqa: PLR2004  where HTTP's errors begin
                    raise await _refusal(response)
                yield response

    def _request(self, method: str, path: str, seconds: float | None, **others: Any) -> Any:
        scheme = "https" if self._trust else "http"
        return self._http.request(
            method,
            f"{scheme}://{self._endpoint.address or 'docker'}{path}",
            timeout=ClientTimeout(total=seconds, sock_connect=_CONNECT_SECONDS),
            ssl=self._trust.context() if self._trust else True,
            **others,
        )

    async def _negotiate(self, *, seconds: float) -> str:
        with self._reachable():
            async with self._request("GET", "/_ping", seconds) as response:
                if response.status != 200:  # noqa: PLR2004  what a daemon answers
                    raise Unavailable(
                        f"The Docker daemon at {self._endpoint} is not well: "
                        f"{await _refusal(response)}"
                    )
                # A daemon of API 1.24 says nothing; a later one tells its own.
                said = response.headers.get("Api-Version", "1.24")
        version = _VERSION.fullmatch(said)
        theirs = (int(version[1]), int(version[2])) if version else (0, 0)
        if theirs < _OLDEST:
            raise DockerError(
                f"The Docker daemon at {self._endpoint} speaks API {said[:20]}; 1.24 is the least"
            )
        return "{}.{}".format(*min(theirs, _NEWEST))

    @contextmanager
    def _reachable(self) -> Iterator[None]:
        """Turn errors of the connection into Unavailable, and forget the daemon's API version."""
        try:
            yield
        except (aiohttp.ClientError, TimeoutError) as error:
            self._version = ""
            # aiohttp's message names the endpoint in its own way, before the cause.
            told = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
            cause = getattr(told, "strerror", None) or str(told) or type(told).__name__
            raise Unavailable(
                f"The Docker daemon at {self._endpoint} cannot be reached: {cause}"
            ) from error


def _object(answer: object) -> Json:
    if not isinstance(answer, dict):
        raise DockerError(f"the daemon answered what is no object: {str(answer)[:200]!r}")
    return answer


async def _refusal(response: ClientResponse) -> PeithoError:
    """Return the daemon's message as the kind of error that its status means."""
    body = await response.content.read(_ERROR_BYTES)
    try:
        message = str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        message = body.decode(errors="replace").strip()[:500] or f"status {response.status}"
    return _KINDS.get(response.status, DockerError)(message)


def _kept_alive(address: Any) -> socket.socket:
    """A socket for a wait, which is silent for minutes."""
    connection = socket.socket(family=address[0], type=address[1], proto=address[2])
    keep_alive(connection)
    return connection
