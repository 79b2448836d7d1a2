"""A real HTTPS server on loopback that answers a Pod's calls from a list of answers."""

import http.server
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from peitho.clients.authority import Authority, DeliveryCertificate
from peitho.pod.calls import PeithoClient
from peitho.settings.live import Live

AUTHORITY = Authority.make(time.time())

Answer = tuple[int, bytes] | Callable[[http.server.BaseHTTPRequestHandler], None]


@dataclass
class Serving:
    """What was asked so far, and what is answered: by path, in order, the last for ever."""

    answers: dict[str, list[Answer]]
    requests: list[tuple[str, str, str, bytes]] = field(default_factory=list)
    url: str = ""
    pauses: list[float] = field(default_factory=list)

    def client(self, path: str = "", *, bearer: str = "t") -> PeithoClient:
        """A Pod's client of this server, whose pauses are noted here and take no time."""
        return PeithoClient(
            self.url + path,
            bearer,
            AUTHORITY.pem,
            monotonic=lambda: sum(self.pauses),
            sleep=self.pauses.append,
        )

    def bodies(self, path: str) -> list[bytes]:
        """The bodies that were sent to a path."""
        return [body for _, asked, _, body in self.requests if asked == path]

    def next(self, path: str) -> Answer:
        """The next answer for a path."""
        answers = self.answers.get(path, [(404, b"nothing here")])
        return answers.pop(0) if len(answers) > 1 else answers[0]


@contextmanager
def serving(
    answers: dict[str, list[Answer]],
    *,
    authority: Authority = AUTHORITY,
    host: str = "127.0.0.1",
    version: ssl.TLSVersion | None = None,
) -> Iterator[Serving]:
    """The server, while it runs; its certificate may be of another CA, or for another host."""
    told = Serving(answers)
    tls = DeliveryCertificate(authority, Live(host)).context()
    if version:
        tls.minimum_version = tls.maximum_version = version
        tls.set_ciphers("ALL:@SECLEVEL=0")

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = b"".join(self._chunks())
            token = self.headers.get("Authorization", "")
            told.requests.append((self.command, self.path, token, body))
            answer = told.next(self.path)
            if callable(answer):
                answer(self)
                return
            status, content = answer
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_PUT = do_GET  # noqa: N815  http.server's names

        def _chunks(self) -> Iterator[bytes]:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return
            while length := int(self.rfile.readline(), 16):
                yield self.rfile.read(length)
                self.rfile.readline()
            self.rfile.readline()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        told.url = f"https://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.001,))
        thread.start()
        try:
            yield told
        finally:
            server.shutdown()
            thread.join()


def cut(content: bytes, *, at: int) -> Answer:
    """An answer that breaks off in the middle of its body."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[:at])
        handler.close_connection = True

    return answer


def cut_chunks(content: bytes) -> Answer:
    """An answer in chunks, of which the last never comes."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))
        handler.close_connection = True

    return answer


def hang_up(handler: http.server.BaseHTTPRequestHandler) -> None:
    """No answer at all."""
    handler.close_connection = True
