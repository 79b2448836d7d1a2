"""
A TCP proxy that forwards every byte, each direction ended on its own, and tells what was said.

Used to compare what Peitho answers with what dockerd answered, exchange by exchange.  HTTP is read
from the two byte streams afterwards, so that nothing here can change the conversation.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

_CHUNK_BYTES = 65_536
_FRAME_HEADER_BYTES = 8
_MULTIPLEXED = "application/vnd.docker.multiplexed-stream"


@dataclass(frozen=True, slots=True)
class Frame:
    """A piece of a container's output: stream 1 or 2, or 0 where the stream is raw."""

    stream: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """
    A request and its response.  Header names are lower case; `status` 0 means none came.

    `complete` tells whether the response's body was seen to its end; `request_complete` likewise.
    `began` and `ended` are seconds since the recorder's start.  `body` of a `101` is what the
    server sent after it, and `frames` the same taken apart.
    """

    connection: int
    began: float
    ended: float
    method: str
    target: str
    request_headers: Mapping[str, str]
    request_body: bytes
    request_complete: bool
    status: int
    headers: Mapping[str, str]
    body: bytes
    complete: bool
    frames: tuple[Frame, ...] = ()
    half_closed: bool = False

    @property
    def path(self) -> str:
        """The target without its query and without `/v1.NN`."""
        path = urlsplit(self.target).path
        head, _, rest = path.removeprefix("/").partition("/")
        return f"/{rest}" if head.startswith("v1.") else path


@dataclass(slots=True)
class _Direction:
    """The bytes of one direction, when each piece came, and when the direction was shut."""

    data: bytearray = field(default_factory=bytearray)
    arrivals: list[tuple[int, float]] = field(default_factory=list)  # length then, seconds
    shut_seconds: float | None = None

    def add(self, data: bytes, seconds: float) -> None:
        self.data += data
        self.arrivals.append((len(self.data), seconds))

    def when(self, offset: int) -> float:
        """When the byte before an offset had come."""
        return next((at for length, at in self.arrivals if length >= offset), 0.0)


@dataclass(slots=True)
class _Connection:
    number: int
    sent: _Direction = field(default_factory=_Direction)
    received: _Direction = field(default_factory=_Direction)


class Recorder:
    """The proxy.  `exchanges()` may be asked at any time; what is under way is incomplete."""

    def __init__(self, host: str, port: int) -> None:
        self.url = ""
        self._target = (host, port)
        self._connections: list[_Connection] = []
        self._start = time.monotonic()
        self._transports: set[asyncio.WriteTransport] = set()
        self._serving: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def start(cls, host: str, port: int, *, listen: str = "127.0.0.1") -> AsyncIterator[Self]:
        """A proxy before `host:port`, while it is needed; `url` is its address as tcp://."""
        recorder = cls(host, port)
        server = await asyncio.start_server(recorder._serve, listen, 0)
        recorder.url = f"tcp://{listen}:{server.sockets[0].getsockname()[1]}"
        try:
            yield recorder
        finally:
            server.close()
            for transport in recorder._transports:
                transport.abort()
            if recorder._serving:
                await asyncio.wait(recorder._serving)

    def exchanges(self, since: float = 0.0) -> list[Exchange]:
        """What was said from a moment on, in the order in which requests began."""
        found = [each for one in self._connections for each in _read_connection(one)]
        return sorted((each for each in found if each.began >= since), key=lambda each: each.began)

    def now(self) -> float:
        """Seconds since the start, to be given to `exchanges`."""
        return time.monotonic() - self._start

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            await self._relay(reader, writer)
        finally:
            self._serving.discard(task)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(len(self._connections) + 1)
        self._connections.append(connection)
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.close()
            return
        transports = {writer.transport, upstream_writer.transport}
        self._transports |= transports
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._forward(reader, upstream_writer, connection.sent))
                tasks.create_task(self._forward(upstream_reader, writer, connection.received))
        except* OSError:
            for transport in transports:
                transport.abort()
        finally:
            self._transports -= transports
            writer.close()
            upstream_writer.close()

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: _Direction
    ) -> None:
        """Forward one direction to its end; a reset on either side ends both."""
        while data := await reader.read(_CHUNK_BYTES):
            kept.add(data, self.now())
            writer.write(data)
            await writer.drain()
        kept.shut_seconds = self.now()
        writer.write_eof()


@dataclass(frozen=True, slots=True)
class _Message:
    """A request or a response as it lies in a direction; `end` is the offset after it."""

    start_line: str
    headers: Mapping[str, str]
    body: bytes
    begin: int
    end: int
    complete: bool


def _read_connection(connection: _Connection) -> Iterator[Exchange]:
    sent, received = bytes(connection.sent.data), bytes(connection.received.data)
    request_at = response_at = 0
    while request := _read_message(sent, request_at, bodiless=False, until_close=False):
        method = request.start_line.split(" ", 1)[0]
        response = _read_response(connection, received, response_at, method)
        upgraded = response is not None and _status(response) == 101
        yield _exchange(connection, request, response)
        if response is None or not response.complete or upgraded:
            return
        request_at, response_at = request.end, response.end
        # What a client sends on after an aborted body is no request.
        if not request.complete:
            return


def _read_response(
    connection: _Connection, data: bytes, begin: int, method: str
) -> _Message | None:
    """The next response that is not `100 Continue`."""
    while True:
        head = _read_message(data, begin, bodiless=True, until_close=False)
        if head is None:
            return None
        status = _status(head)
        if status == 100:
            begin = head.end
            continue
        if status == 101:
            shut = connection.received.shut_seconds is not None
            rest = data[head.end :]
            return _Message(head.start_line, head.headers, rest, begin, len(data), shut)
        bodiless = method == "HEAD" or status in {204, 304}
        message = _read_message(data, begin, bodiless=bodiless, until_close=True)
        if message and not message.complete and _ends_at_close(message):
            shut = connection.received.shut_seconds is not None
            return _Message(
                message.start_line, message.headers, message.body, begin, message.end, shut
            )
        return message


def _ends_at_close(message: _Message) -> bool:
    return "content-length" not in message.headers and not _is_chunked(message.headers)


def _exchange(connection: _Connection, request: _Message, response: _Message | None) -> Exchange:
    method, target, _ = request.start_line.split(" ", 2)
    shut = connection.sent.shut_seconds
    ended = connection.received.when(response.end) if response else 0.0
    status = _status(response) if response else 0
    hijacked = status == 101
    return Exchange(
        connection=connection.number,
        began=connection.sent.when(request.begin + 1),
        ended=ended,
        method=method,
        target=target,
        request_headers=request.headers,
        request_body=request.body,
        request_complete=request.complete,
        status=status,
        headers=response.headers if response else {},
        body=response.body if response else b"",
        complete=bool(response and response.complete),
        frames=_frames(response) if response and hijacked else (),
        half_closed=hijacked and shut is not None and _before(shut, connection.received),
    )


def _before(seconds: float, direction: _Direction) -> bool:
    return direction.shut_seconds is None or seconds < direction.shut_seconds


def _status(response: _Message) -> int:
    return int(response.start_line.split(" ", 2)[1])


def _is_chunked(headers: Mapping[str, str]) -> bool:
    return headers.get("transfer-encoding", "").lower() == "chunked"


def _read_message(data: bytes, begin: int, *, bodiless: bool, until_close: bool) -> _Message | None:
    """The message at an offset; None where its head has not come to its end."""
    head_end = data.find(b"\r\n\r\n", begin)
    if head_end < 0:
        return None
    start_line, *lines = data[begin:head_end].decode("latin-1").split("\r\n")
    pairs = (line.split(":", 1) for line in lines)
    headers = {name.lower(): value.strip() for name, value in pairs}
    body_at = head_end + 4
    if bodiless:
        return _Message(start_line, headers, b"", begin, body_at, complete=True)
    if _is_chunked(headers):
        body, end, complete = _read_chunks(data, body_at)
    elif "content-length" in headers:
        end = min(body_at + int(headers["content-length"]), len(data))
        body = data[body_at:end]
        complete = len(body) == int(headers["content-length"])
    elif until_close:
        body, end, complete = data[body_at:], len(data), False
    else:
        body, end, complete = b"", body_at, True
    return _Message(start_line, headers, body, begin, end, complete)


def _read_chunks(data: bytes, begin: int) -> tuple[bytes, int, bool]:
    body = bytearray()
    while (line_end := data.find(b"\r\n", begin)) >= 0:
        size = int(data[begin:line_end].split(b";")[0], 16)
        chunk_at = line_end + 2
        if len(data) < chunk_at + size + 2:
            break
        body += data[chunk_at : chunk_at + size]
        begin = chunk_at + size + 2
        if size == 0:
            return bytes(body), begin, True
    return bytes(body), begin, False


def _frames(response: _Message) -> tuple[Frame, ...]:
    if response.headers.get("content-type") != _MULTIPLEXED:
        return (Frame(0, response.body),) if response.body else ()
    frames = []
    rest = response.body
    while len(rest) >= _FRAME_HEADER_BYTES:
        end = _FRAME_HEADER_BYTES + int.from_bytes(rest[4:_FRAME_HEADER_BYTES])
        frames.append(Frame(rest[0], rest[_FRAME_HEADER_BYTES:end]))
        rest = rest[end:]
    return tuple(frames)
