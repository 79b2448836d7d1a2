"""
A peer's connection over TLS, for tests.

It half-closes as Go's `tls.Conn.CloseWrite` does: with a close_notify, while the socket stays open.
asyncio's own client cannot.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.wire import Wire


class TlsStream:
    """Reader and writer of one connection; `cut` sends half a record and closes the socket."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._received = ssl.MemoryBIO()
        self._to_send = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._received, self._to_send, server_hostname="localhost")
        self._read = b""

    async def shake_hands(self) -> None:
        """Until both sides know each other. Raises SSLError."""
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                if not await self._receive():
                    raise ConnectionResetError("closed in the handshake") from None
            else:
                self._flush()
                return

    def write(self, data: bytes) -> None:
        """Encrypt and send."""
        self.tls.write(data)
        self._flush()

    def write_eof(self) -> None:
        """Send the close_notify, and read on."""
        with suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        self._flush()

    def cut(self) -> None:
        """Break off in the middle of a record."""
        self.tls.write(b"x" * 100)
        self._writer.write(self._to_send.read()[:50])
        self._writer.close()

    def garble(self) -> None:
        """Send a record whose last byte was changed on the way."""
        self.tls.write(b"x" * 100)
        sealed = self._to_send.read()
        self._writer.write(sealed[:-1] + bytes([sealed[-1] ^ 1]))

    @property
    def unsent_bytes(self) -> int:
        """What the other side has not taken yet, but for what the system holds."""
        return self._writer.transport.get_write_buffer_size()

    async def readuntil(self, separator: bytes) -> bytes:
        """As a StreamReader does."""
        while separator not in self._read:
            if not await self._more():
                raise asyncio.IncompleteReadError(self._read, None)
        return self._take(self._read.index(separator) + len(separator))

    async def readexactly(self, length: int) -> bytes:
        """As a StreamReader does."""
        while len(self._read) < length:
            if not await self._more():
                raise asyncio.IncompleteReadError(self._read, length)
        return self._take(length)

    async def read(self) -> bytes:
        """All there is until the other side closes."""
        while await self._more():
            pass
        return self._take(len(self._read))

    def close(self) -> None:
        """Close the socket, without a word of TLS."""
        self._writer.close()

    async def _more(self) -> bool:
        while True:
            try:
                data = self.tls.read(65536)
            except ssl.SSLWantReadError:
                if not await self._receive():
                    return False
            except ssl.SSLZeroReturnError:  # after our own close_notify, theirs is told so
                return False
            else:
                self._read += data
                return bool(data)

    async def _receive(self) -> bool:
        data = await self._reader.read(65536)
        self._received.write(data)
        return bool(data)

    def _take(self, length: int) -> bytes:
        taken, self._read = self._read[:length], self._read[length:]
        return taken

    def _flush(self) -> None:
        if self._to_send.pending:
            self._writer.write(self._to_send.read())


class TlsWire(Wire):
    """One connection of a peer over TLS."""

    def __init__(self, stream: TlsStream) -> None:
        super().__init__(stream, stream)
        self.stream = stream


def client(
    folder: Path, *, version: ssl.TLSVersion | None = None, named: bool = True
) -> ssl.SSLContext:
    """What a peer trusts and shows: the CA of the folder, and its `admin` certificate."""
    context = ssl.create_default_context(cafile=folder / "ca.crt")
    if named:
        context.load_cert_chain(folder / "admin.crt", folder / "admin.key")
    if version:
        context.minimum_version = context.maximum_version = version
    return context


def first_words(context: ssl.SSLContext) -> bytes:
    """What a client says first."""
    to_send = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), to_send, server_hostname="localhost")
    with suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return to_send.read()


@asynccontextmanager
async def tls_wire(url: str, context: ssl.SSLContext) -> AsyncIterator[TlsWire]:
    """A connection to a server, once the hands are shaken."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    stream = TlsStream(reader, writer, context)
    try:
        await stream.shake_hands()
        yield TlsWire(stream)
    finally:
        writer.close()
