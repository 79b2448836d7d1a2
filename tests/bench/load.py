"""
Pings, as cheap as a client can be: a process of its own beside the Peitho that is measured.

`python -m tests.bench.load PORT CONNECTIONS REQUESTS [SECONDS TLS]`: REQUESTS in all, as fast as
they are answered, or one each SECONDS over each connection; TLS is a folder of certificates.
"""

import asyncio
import json
import ssl
import sys
import time
from pathlib import Path

_REQUEST = b"GET /_ping HTTP/1.1\r\nHost: localhost\r\n\r\n"
_END = b"\r\n\r\nOK"


class Pinger(asyncio.Protocol):
    """One connection: sends the next request once the answer to the last is complete."""

    def __init__(self, requests: int, *, pause_seconds: float) -> None:
        self.seconds: list[float] = []
        self.ended = asyncio.get_running_loop().create_future()
        self._requests = requests
        self._pause_seconds = pause_seconds
        self._received = b""
        self._sent_at = 0.0
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        """Take the time of an answer."""
        self._received += data
        if not self._received.endswith(_END):
            return
        self.seconds.append(time.perf_counter() - self._sent_at)
        self._received = b""
        if len(self.seconds) < self._requests:
            self._send_after(self._pause_seconds)
        elif self._transport:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """All is over, or the server hung up."""
        if len(self.seconds) == self._requests:
            self.ended.set_result(None)
        else:
            what = f"{exc or 'hung up'}, after {self._received[:200]!r}"
            self.ended.set_exception(ConnectionError(what))

    def _send_after(self, seconds: float) -> None:
        if seconds:
            asyncio.get_running_loop().call_later(seconds, self._send)
        else:
            self._send()

    def _send(self) -> None:
        if self._transport:
            self._sent_at = time.perf_counter()
            self._transport.write(_REQUEST)


async def load(
    port: int,
    connections: int,
    requests: int,
    *,
    pause_seconds: float = 0.0,
    tls: ssl.SSLContext | None = None,
) -> dict[str, float]:
    """Percentiles of the time that an answer takes, and the rate."""
    loop = asyncio.get_running_loop()
    share = requests // connections
    began = time.perf_counter()
    pingers = []
    for _ in range(connections):
        # Those that pause are not to ask all at once.
        await asyncio.sleep(pause_seconds / connections)
        pinger = Pinger(share, pause_seconds=pause_seconds)
        await loop.create_connection(lambda pinger=pinger: pinger, "127.0.0.1", port, ssl=tls)
        pingers.append(pinger)
    for each in pingers:
        await each.ended
    taken = time.perf_counter() - began
    seconds = sorted(one for each in pingers for one in each.seconds)
    return {
        "p50_ms": percentile(seconds, 50) * 1000,
        "p99_ms": percentile(seconds, 99) * 1000,
        "per_second": len(seconds) / taken,
    }


def client_tls(folder: Path) -> ssl.SSLContext:
    """What a client needs that shows a certificate, of a folder that `tests.lab.pki` made."""
    context = ssl.create_default_context(cafile=folder / "ca.crt")
    context.load_cert_chain(folder / "admin.crt", folder / "admin.key")
    return context


def percentile(values: list[float], percent: int) -> float:
    """The value that `percent` of all, which are sorted, do not exceed."""
    return values[max(0, -(-len(values) * percent // 100) - 1)]


def main(port: str, connections: str, requests: str, seconds: str = "0", tls: str = "") -> None:
    """Print what was measured, as JSON."""
    measured = load(
        int(port),
        int(connections),
        int(requests),
        pause_seconds=float(seconds),
        tls=client_tls(Path(tls)) if tls else None,
    )
    print(json.dumps(asyncio.run(measured)))


if __name__ == "__main__":
    main(*sys.argv[1:])
