"""
TLS at the Docker API and at delivery, between the socket's transport and a `Connection`.

A peer's client shuts its sending half with a `close_notify` (Go's `tls.Conn.CloseWrite`) and reads
on.  asyncio's own TLS closes the connection on that; this passes it on as the half-close that it
is, and the other direction stays open.
"""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, cast

import structlog

from peitho import audit, metrics
from peitho.api.connections import Connections

log = structlog.get_logger()

# A peer needs two or three round trips.
_HANDSHAKE_SECONDS = 10.0
_READ_BYTES = 256 * 1024
# In the words of Go's net/http (server.go), which dockerd answers with, too.
_NOT_TLS = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
_PLAIN = "it spoke plain HTTP, which is not answered here"


class TlsProtocol(asyncio.Protocol):
    """
    Shakes hands on a socket's transport, then passes what it decrypts on to a protocol.

    Until then the connection counts among `handshakes`: anybody can begin one, so whoever has not
    come to its end while very many others came may have to go.
    """

    def __init__(
        self, context: ssl.SSLContext, inner: asyncio.Protocol, handshakes: Connections
    ) -> None:
        self._inner = inner
        self._handshakes = handshakes
        self._received = ssl.MemoryBIO()
        self._to_send = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._received, self._to_send, server_side=True)
        self._transport: TlsTransport | None = None  # once the hands are shaken
        self._has_ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the peer's first words, but not for ever."""
        self._socket = cast("asyncio.Transport", transport)
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(_HANDSHAKE_SECONDS, self._give_up, "it took too long")
        self._handshakes.wait(self)

    def close(self) -> None:
        """Make room for others, before the hands are shaken."""
        self._give_up("too many others have begun since")

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass it on, if the protocol behind knows of the connection."""
        self._end_handshake()
        if self._transport:
            self._inner.connection_lost(exc)
            self._transport = None  # it refers to this, and would wait for the garbage collector

    def data_received(self, data: bytes) -> None:
        """Shake hands, or decrypt."""
        self._received.write(data)
        if self._transport is None:
            self._shake_hands(is_http=data[:1].isalpha())
        self._decrypt()

    def eof_received(self) -> bool:
        """Pass it on as the half-close that it is; before the hands are shaken, it is the end."""
        if self._transport is None:
            return False
        self._end()
        return True

    def pause_writing(self) -> None:
        """Pass it on."""
        if self._transport:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        if self._transport:
            self._inner.resume_writing()

    def _shake_hands(self, *, is_http: bool) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._socket.write(self._to_send.read())
            return
        except ssl.SSLError as error:
            self._socket.write(_NOT_TLS if is_http else self._to_send.read())
            self._give_up(_PLAIN if is_http else error.reason or str(error))
            return
        self._end_handshake()
        self._socket.write(self._to_send.read())
        self._transport = TlsTransport(
            self._socket, self._tls, self._to_send, decrypt=self._decrypt, inner=self._inner
        )
        self._inner.connection_made(self._transport)

    def _end_handshake(self) -> None:
        self._deadline.cancel()
        self._handshakes.forget(self)

    def _give_up(self, cause: str) -> None:
        self._end_handshake()
        peer = self._socket.get_extra_info("peername") or ("", 0)
        _, port, *_ = self._socket.get_extra_info("sockname") or ("", 0)
        log.info("tls handshake failed", peer=peer[0], port=port, cause=cause)
        metrics.REFUSED.labels("handshake").inc()
        audit.record("refused", outcome=cause, by=audit.Caller(peer[0]), call="TLS handshake")
        self._socket.close()

    def _decrypt(self) -> None:
        transport = self._transport
        if transport is None:
            return
        while transport.is_reading() and not transport.is_closing():
            try:
                data = self._tls.read(_READ_BYTES)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLError as error:  # a byte was changed on the way, or an alert came
                log.debug("tls broke", cause=error.reason or str(error))
                transport.abort()
                return
            if not data:  # the peer's close_notify
                self._end()
                break
            transport.inner.data_received(data)
        transport.flush()  # an answer of TLS itself, such as to a new key

    def _end(self) -> None:
        """Pass the end of the peer's direction on, once: its close_notify, or the socket's."""
        if not self._has_ended and self._transport:
            self._has_ended = True
            self._transport.inner.eof_received()


class TlsTransport(asyncio.Transport):
    """What the protocol behind TLS writes to."""

    def __init__(
        self,
        below: asyncio.Transport,
        tls: ssl.SSLObject,
        to_send: ssl.MemoryBIO,
        *,
        decrypt: Callable[[], None],
        inner: asyncio.Protocol,
    ) -> None:
        super().__init__()
        self._below = below
        self._tls = tls
        self._to_send = to_send
        self._decrypt = decrypt
        self._is_reading = True
        self._is_closing = False
        self._certificate: Mapping[str, Any] | None = None
        self.inner = inner

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what is known of TLS (`ssl_object`, `sslcontext`, `peercert`) or the socket."""
        if name == "ssl_object":
            return self._tls
        if name == "sslcontext":
            return self._tls.context
        if name == "peercert":
            if self._certificate is None:  # decoded once: no handshake comes after the first
                self._certificate = self._tls.getpeercert() or {}
            return self._certificate
        return self._below.get_extra_info(name, default)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol behind TLS."""
        return self.inner

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Have another protocol behind TLS."""
        self.inner = cast("asyncio.Protocol", protocol)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send; what is written after the end is dropped, as sockets' transports do."""
        if self._is_closing or not data:
            return
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[self._tls.write(rest) :]
        except ssl.SSLError as error:
            log.debug("tls broke", cause=error.reason or str(error))
            self.abort()
            return
        self.flush()

    def flush(self) -> None:
        """Send what TLS has to send."""
        if self._to_send.pending:
            self._below.write(self._to_send.read())

    def close(self) -> None:
        """Close with a close_notify once all is sent; the peer's own is not waited for."""
        if self._is_closing:
            return
        self._is_closing = True
        with suppress(ssl.SSLError):  # above all that the peer's was not there yet
            self._tls.unwrap()
        self.flush()
        self._below.close()

    def abort(self) -> None:
        """Close at once, whatever is still to be sent."""
        self._is_closing = True
        self._below.abort()

    def is_closing(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._is_closing or self._below.is_closing()

    def can_write_eof(self) -> bool:
        """Return False: our half is closed with the whole."""
        return False

    def is_reading(self) -> bool:
        """Whether decrypted bytes are passed on."""
        return self._is_reading

    def pause_reading(self) -> None:
        """Pass nothing on for now."""
        if self._is_reading:
            self._is_reading = False
            self._below.pause_reading()

    def resume_reading(self) -> None:
        """Pass on again, beginning with what has been received meanwhile."""
        if not self._is_reading:
            self._is_reading = True
            self._below.resume_reading()
            asyncio.get_running_loop().call_soon(self._decrypt)

    def get_write_buffer_size(self) -> int:
        """Bytes that wait to be sent, encrypted."""
        return self._below.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the limits of the socket's transport."""
        return self._below.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the limits of the socket's transport."""
        self._below.set_write_buffer_limits(high, low)
