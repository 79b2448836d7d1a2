"""
HTTPS calls from a Pod to Peitho's delivery listener; standard library, so that it starts fast.

The listener's certificate has to be of the one CA that the Pod was given.

So it tries again by a loop of its own, and not by clients/retries.py, which needs stamina.
"""

import http.client
import os
import ssl
import time
import urllib.parse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from peitho.errors import InvalidArgument

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

    `ca` is the certificate of Peitho's CA, in PEM: no other is trusted. Raises InvalidArgument for
    a URL without TLS, and if there is no such certificate.

    `monotonic` and `sleep` are those of `time`, or of a test's clock.
    """

    def __init__(
        self,
        url: str,
        token: str,
        ca: str,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme != "https":
            raise InvalidArgument(f"{url} is not https: this Pod was made by another Peitho")
        self._tls = _trusting(ca)
        self._host = parts.hostname or ""
        self._port = parts.port or http.client.HTTPS_PORT
        self._base = parts.path.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}
        self._monotonic, self._sleep = monotonic, sleep

    @classmethod
    def from_environment(cls) -> "PeithoClient":
        """Make a client of what the Pod's manifest sets. Raises InvalidArgument."""
        environment = os.environ  # noqa: TID251  a process of its own, without settings
        return cls(
            environment["PEITHO_URL"], environment["PEITHO_TOKEN"], environment.get("PEITHO_CA", "")
        )

    def get(self, path: str, take: Callable[[http.client.HTTPResponse], T]) -> T:
        """
        Fetch, and pass the answer to `take`; try again for a minute while an error may pass.

        A certificate of another CA or for another name does not pass.
        """
        end = self._monotonic() + _RETRY_SECONDS
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                return self._request("GET", path, None, take)
            except (OSError, http.client.HTTPException, CallError) as error:
                if _is_final(error) or self._monotonic() + pause > end:
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
        connection = http.client.HTTPSConnection(
            self._host, self._port, timeout=_TIMEOUT_SECONDS, context=self._tls
        )
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


def _trusting(ca: str) -> ssl.SSLContext:
    """Return how to speak TLS 1.2 or later with whoever has a certificate of a CA, by its name."""
    if not ca:
        raise InvalidArgument("there is no CA of Peitho: this Pod was made by another Peitho")
    try:
        context = ssl.create_default_context(cadata=ca)
    except (ssl.SSLError, TypeError, ValueError) as error:
        raise InvalidArgument(f"the CA of Peitho cannot be read: {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _is_final(error: Exception) -> bool:
    """Whether to try again is of no use."""
    if isinstance(error, CallError):
        return error.status < _SERVER_ERROR
    return isinstance(error, ssl.SSLCertVerificationError)


def tell(message: str) -> None:
    """Write why this container fails to where the cluster shows it."""
    line = " ".join(message.split())[:2000]
    print(line, flush=True)  # noqa: T201  a container's log is its output
    try:
        _TERMINATION_LOG.write_text(line)
    except OSError:
        return  # not in a Pod
