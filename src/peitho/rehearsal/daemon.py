"""The calls of a peer to its Docker daemon, as one generation makes them."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Self

import aiohttp

from peitho.errors import InvalidArgument, PeithoError, Unavailable
from peitho.formats.docker.streams import FrameReader
from peitho.rehearsal.generations import Generation

# What moby's client of the newest peers takes at most.
_NEWEST = (1, 54)
_HEAD_BYTES = 16 * 1024
_TEXT_BYTES = 64 * 1024


class WrongAnswerError(PeithoError):
    """A call was not answered as a peer needs it; the message has call, status and words."""


@dataclass(slots=True)
class Daemon:
    """What the peer takes for a Docker daemon."""

    generation: Generation
    host: str
    port: int
    tls: ssl.SSLContext | None
    _http: aiohttp.ClientSession
    _prefix: str = ""

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, host: str, port: int, generation: Generation, *, tls: ssl.SSLContext | None
    ) -> AsyncIterator[Self]:
        """Make a client; nothing is sent yet. Peers set no time limit: whoever calls does."""
        connector = aiohttp.TCPConnector(
            limit=0, force_close=not generation.is_kept_alive, ssl=tls or True
        )
        url = f"{'https' if tls else 'http'}://{_bracketed(host)}:{port}"
        async with aiohttp.ClientSession(
            url,
            connector=connector,
            headers=generation.headers,
            timeout=aiohttp.ClientTimeout(total=None),
        ) as http:
            yield cls(generation, host, port, tls, http)

    async def greet(self) -> None:
        """Ask what a peer asks before its first use, and take the version that both know."""
        method, path = self.generation.greeting
        async with self._answer(method, path) as response:
            self._require(response, {200}, f"{method} {path}", await response.text())
            offered = response.headers.get("Api-Version", "")
        if self.generation.is_versioned:
            self._prefix = f"/v{_negotiated(offered)}"

    async def call(
        self, method: str, path: str, expected: Collection[int], **request: Any
    ) -> dict[str, Any]:
        """
        Make one call, and return the JSON of its answer, if it has one.

        Raises WrongAnswerError for a status that is not expected, Unavailable for no answer.
        """
        async with self._answer(method, self._prefix + path, **request) as response:
            text = (await response.content.read(_TEXT_BYTES)).decode(errors="replace")
            self._require(response, expected, f"{method} {path}", text)
            is_object = response.content_type == "application/json" and text.startswith("{")
            return dict(json.loads(text)) if is_object else {}

    async def build(self, name: str, context: Callable[[], Awaitable[bytes]]) -> None:
        """
        Build an image from a context that is made while the call is open, as peers do it.

        Raises WrongAnswerError also where the answer ends with an error.
        """
        failures: list[PeithoError] = []

        async def body() -> AsyncIterator[bytes]:
            try:
                yield await context()
            except PeithoError as error:
                failures.append(error)  # aiohttp would tell that the connection is lost
                raise

        query = {"networkmode": "bridge", "t": name}
        headers = {"Content-Type": "application/x-tar", "X-Registry-Config": "bnVsbA=="}
        path = f"{self._prefix or self.generation.build_prefix}/build"
        try:
            async with self._answer(
                "POST", path, params=query, data=body(), headers=headers
            ) as response:
                text = (await response.content.read(_TEXT_BYTES)).decode(errors="replace")
                self._require(response, {200}, "POST /build", text)
        except Unavailable:
            if failures:
                raise failures[0] from None
            raise
        if '"error"' in text:
            raise WrongAnswerError(f"POST /build: {text.strip()[-1000:]}")

    async def archive(self, container: str, path: str) -> list[bytes]:
        """Return a directory of a container, as parts of a tar."""
        async with self._answer(
            "GET", f"{self._prefix}/containers/{container}/archive", params={"path": path}
        ) as response:
            text = await response.text() if not response.ok else ""
            self._require(response, {200}, "GET archive", text)
            if "X-Docker-Container-Path-Stat" not in response.headers:
                raise WrongAnswerError("GET archive: there is no X-Docker-Container-Path-Stat")
            return [part async for part, _ in response.content.iter_chunks()]

    async def last_words(self, container: str) -> str:
        """Return the last lines of a container, for people: no peer asks for them."""
        query = {"stdout": "1", "stderr": "1", "tail": "5"}
        path = f"{self._prefix}/containers/{container}/logs"
        async with self._answer("GET", path, params=query) as response:
            said = await response.content.read(_TEXT_BYTES)
            self._require(response, {200}, "GET logs", said.decode(errors="replace"))
        with suppress(InvalidArgument):  # it came without frames
            said = b"".join(part for _, part in FrameReader().feed(said))
        return said.decode(errors="replace").strip()

    async def attach(self, container: str) -> "Attached":
        """Take a container's output; older peers half-close their side at once."""
        try:
            reader, writer = await asyncio.open_connection(
                self.host, self.port, ssl=self.tls, limit=_HEAD_BYTES
            )
            path = f"{self._prefix}/containers/{container}/attach"
            writer.write(
                f"POST {path}?logs=1&stderr=1&stdout=1&stream=1 HTTP/1.1\r\n"
                f"Host: {_bracketed(self.host)}:{self.port}\r\n"
                "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n".encode()
            )
            await writer.drain()
            # asyncio's TLS has no half-close: there it is left out.
            if self.generation.half_closes and writer.can_write_eof():
                writer.write_eof()
            head = (await reader.readuntil(b"\r\n\r\n")).decode(errors="replace")
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise Unavailable(f"POST attach: {error}") from error
        status = head.partition("\r\n")[0]
        if " 101 " not in f"{status} ":
            writer.close()
            raise WrongAnswerError(f"POST attach: {status}")
        return Attached(reader, writer, is_framed=self.generation.takes_frames_apart)

    @asynccontextmanager
    async def _answer(
        self, method: str, path: str, **request: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            async with self._http.request(method, path, **request) as response:
                yield response
        except aiohttp.ClientError as error:
            raise Unavailable(f"{method} {path}: {error}") from error

    def _require(
        self, response: aiohttp.ClientResponse, expected: Collection[int], call: str, text: str
    ) -> None:
        if response.status not in expected:
            raise WrongAnswerError(f"{call}: {response.status} {_message(text)}")


@dataclass(slots=True)
class Attached:
    """The output of a container, as it comes."""

    _reader: asyncio.StreamReader
    _writer: asyncio.StreamWriter
    is_framed: bool

    async def text(self) -> str:
        """
        Return the last of it; it ends with the container.

        Raises WrongAnswerError where frames are expected and none come, Unavailable for a cut.
        """
        frames, output = FrameReader(), b""
        try:
            while data := await self._reader.read(_TEXT_BYTES):
                parts = [part for _, part in frames.feed(data)] if self.is_framed else [data]
                output = b"".join((output, *parts))[-_TEXT_BYTES:]
        except InvalidArgument as error:
            raise WrongAnswerError(f"POST attach: {error}") from error
        except OSError as error:
            raise Unavailable(f"POST attach: {error}") from error
        finally:
            await self.close()
        return output.decode(errors="replace")

    async def close(self) -> None:
        """Hang up."""
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()


def _negotiated(offered: str) -> str:
    """
    Return the version that moby's client would take: the older of both newest.

    Raises WrongAnswerError for what is no version, or older than the client takes.
    """
    major, _, minor = offered.partition(".")
    if not (major.isdecimal() and minor.isdecimal()):
        raise WrongAnswerError(f"HEAD /_ping: Api-Version is {offered!r}")
    version = min(_NEWEST, (int(major), int(minor)))
    if version < (1, 44):
        raise WrongAnswerError(f"HEAD /_ping: Api-Version {offered} is too old for newer peers")
    return f"{version[0]}.{version[1]}"


def _message(text: str) -> str:
    try:
        content = json.loads(text)
    except ValueError:
        return text.strip()[:1000]
    told = content.get("message", text) if isinstance(content, Mapping) else text
    return str(told)[:1000]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
