"""
HTTP calls from a Pod to Peitho's delivery listener; standard library, so that it starts fast.

So it tries again by a loop of its own, and not by clients/retries.py, which needs stamina.
"""

import http.client
import os
import time
import urllib.parse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_TIMEOUT_SECONDS = 60.0
_RETRY_SECONDS = 60.0
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 3.0
_TERMINATION_LOG = Path("/dev/termination-log")
_SERVER_ERROR = 500


class CallError(Exception):
    """Peitho refused a call; `status` is its answer."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class PeithoClient:
    """
    A client of Peitho's delivery listener, with a token for one thing.

    `monotonic` and `sleep` are those of `time`, or of a test's clock.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        parts = urllib.parse.urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port or 80
        self._base = parts.path.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}
        self._monotonic, self._sleep = monotonic, sleep

    @classmethod
    def from_environment(cls) -> "PeithoClient":
        """Make a client from `PEITHO_URL` and `PEITHO_TOKEN`."""
        return cls(os.environ["PEITHO_URL"], os.environ["PEITHO_TOKEN"])  # noqa: TID251  its own process

    def get(self, path: str, take: Callable[[http.client.HTTPResponse], T]) -> T:
        """Fetch, and pass the answer to `take`; try again for a minute while an error may pass."""
        end = self._monotonic() + _RETRY_SECONDS
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                return self._request("GET", path, None, take)
            except (OSError, http.client.HTTPException, CallError) as error:
                final = isinstance(error, CallError) and error.status < _SERVER_ERROR
                if final or self._monotonic() + pause > end:
                    raise
            self._sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def send(self, method: str, path: str, body: Iterable[bytes]) -> None:
        """Send a body as it comes, and never twice: half of it may have arrived."""
        self._request(method, path, body, lambda response: response.read())

    def _request(
        self,
        method: str,
        path: str,
        body: Iterable[bytes] | None,
        take: Callable[[http.client.HTTPResponse], T],
    ) -> T:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT_SECONDS)
        try:
            self._send(connection, method, path, body)
            response = connection.getresponse()
            if response.status != http.client.OK:
                said = response.read(1000).decode(errors="replace").strip()
                raise CallError(
                    f"{method} {path}: {response.status} {said}", status=response.status
                )
            taken = take(response)
            if response.length:  # http.client is silent about a body that ended early
                raise http.client.IncompleteRead(b"", response.length)
            return taken
        finally:
            connection.close()

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: Iterable[bytes] | None,
    ) -> None:
        connection.putrequest(method, self._base + path)
        for name, value in self._headers.items():
            connection.putheader(name, value)
        if body is None:
            connection.endheaders()
            return
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        for chunk in body:
            if chunk:
                connection.send(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        connection.send(b"0\r\n\r\n")


def tell(message: str) -> None:
    """Write why this container fails to where the cluster shows it."""
    line = " ".join(message.split())[:2000]
    print(line, flush=True)  # noqa: T201  a container's log is its output
    try:
        _TERMINATION_LOG.write_text(line)
    except OSError:
        return  # not in a Pod
