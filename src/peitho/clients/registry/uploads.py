"""
The upload of one blob: begun, sent in pieces, resumed after a cut, and completed.

The registry checks the digest at the end, so a half upload is never used.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from pathlib import Path
from urllib.parse import quote

import aiohttp
from yarl import URL

from peitho.clients.registry.transport import Method, RegistryCall, RegistryError, RegistryTransport
from peitho.clients.retries import Again, Tries
from peitho.errors import PeithoError
from peitho.formats.images.oci import Descriptor

# Gives a blob from an offset on, as often as it is asked.
BlobSource = Callable[[int], AsyncGenerator[bytes, None]]

PIECE_BYTES = 16 * 1024 * 1024
_READ_BYTES = 256 * 1024
_RANGE = re.compile(r"(?:bytes=)?0-(\d{1,18})")
_OPENED = 202
_STATUS = 204
# The registry has forgotten the upload, or has another idea of how far it is.
_LOST = (404, 416)


class BlobUpload:
    """The upload of one blob to one repository."""

    def __init__(
        self, calls: RegistryTransport, repository: str, blob: Descriptor, source: BlobSource
    ) -> None:
        self._calls = calls
        self._repository = repository
        self._blob = blob
        self._source = source
        self._scopes = (f"repository:{repository}:pull,push",)
        self._location: URL | None = None
        self._offset = 0
        self._furthest = 0
        self._tries = Tries(calls.patience)
        self._piece_bytes = PIECE_BYTES

    async def run(self) -> None:
        """
        Send the blob.

        Raises Unavailable or RegistryError after several tries without progress.
        """
        await self._tries.run(self._try)

    def take_over(self, location: str) -> None:
        """
        Go on with an upload that the registry has begun.

        Raises RegistryError if it leads to another host.
        """
        try:
            url = self._calls.endpoint.url.join(URL(location, encoded=True))
        except ValueError:
            url = URL()
        own = self._calls.endpoint.url
        # A registry behind a proxy may name its scheme or port wrongly; its host it knows.
        if url.host != own.host:
            raise RegistryError(
                f"registry {self._calls.endpoint.host}: {self._what}: it leads to another host, "
                f"{url.host}; nothing is sent there",
                code=_OPENED,
            )
        self._location = URL(f"{own.origin()}{url.raw_path_qs}", encoded=True)

    @property
    def _what(self) -> str:
        return f"sending {self._blob.digest} to {self._repository}"

    async def _try(self) -> None:
        if self._tries.failed and await self._is_there():
            return
        try:
            await self._go_on()
        except Again:
            if self._offset > self._furthest:
                self._furthest = self._offset
                self._tries.renew()
            raise

    async def _go_on(self) -> None:
        if self._location is None:
            await self._open()
        if self._blob.size > self._piece_bytes:
            while self._offset < self._blob.size:
                await self._send_piece()
        await self._finish()

    async def _open(self) -> None:
        call = self._call(
            "POST", self._calls.endpoint.url.join(URL(f"{self._repository}/blobs/uploads/"))
        )
        response = await self._calls.attempt(call)
        if response.status != _OPENED:
            raise await self._calls.refusal(call, response)
        self._offset = 0
        with suppress(ValueError):
            least = int(response.headers.get("OCI-Chunk-Min-Length", "0"))
            self._piece_bytes = max(PIECE_BYTES, least)
        self._progressed(response)

    async def _send_piece(self) -> None:
        end = min(self._offset + self._piece_bytes, self._blob.size)
        headers = {"Content-Range": f"{self._offset}-{end - 1}"}
        response = await self._send("PATCH", self._here(), end=end, headers=headers)
        self._offset = end
        self._progressed(response)

    async def _finish(self) -> None:
        here = str(self._here())
        separator = "&" if "?" in here else "?"
        url = URL(f"{here}{separator}digest={quote(self._blob.digest)}", encoded=True)
        response = await self._send("PUT", url, end=self._blob.size, headers={})
        response.release()

    async def _send(
        self, method: Method, url: URL, *, end: int, headers: dict[str, str]
    ) -> aiohttp.ClientResponse:
        """Send the bytes from where we are to an end."""
        pieces = _Pieces(self._source, self._offset, end)
        headers |= {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(end - self._offset),
        }
        call = RegistryCall(
            method,
            url,
            self._what,
            self._scopes,
            headers,
            pieces.read if end > self._offset else None,
        )
        try:
            response = await self._calls.attempt(call)
        except Again as again:
            # What went wrong where the bytes come from looks like a cut from here.
            raise Again(pieces.error or again.reason, after_seconds=again.after_seconds) from again
        if response.status in _LOST:
            self._location = None
            raise Again(await self._calls.refusal(call, response))
        if not response.ok:
            raise await self._calls.refusal(call, response)
        return response

    async def _is_there(self) -> bool:
        """After a cut, return whether the blob is there after all; if not, find where to go on."""
        response = await self._calls.send(self._call("HEAD", self._below(self._blob.digest)))
        response.release()
        if response.ok:
            return True
        if self._location is None:
            return False
        response = await self._calls.send(self._call("GET", self._location))
        response.release()
        if response.status == _STATUS:
            self._offset = 0
            self._progressed(response)
        else:
            self._location = None
        return False

    def _progressed(self, response: aiohttp.ClientResponse) -> None:
        """Note how far the registry says that we are; it may have kept less than was sent."""
        response.release()
        location = response.headers.get("Location", "")
        if location:
            self.take_over(location)
        told = _RANGE.fullmatch(response.headers.get("Range", ""))
        # `0-0` is one byte, and what some say for none.
        if told and int(told[1]):
            self._offset = min(int(told[1]) + 1, self._blob.size)

    def _here(self) -> URL:
        if self._location is None:
            raise PeithoError(f"registry {self._calls.endpoint.host}: {self._what}: leads nowhere")
        return self._location

    def _call(self, method: Method, url: URL) -> RegistryCall:
        return RegistryCall(method, url, self._what, self._scopes)

    def _below(self, path: str) -> URL:
        return self._calls.endpoint.url.join(URL(f"{self._repository}/blobs/{path}"))


class _Pieces:
    """A part of a source, and the error in it if there was one."""

    def __init__(self, source: BlobSource, begin: int, end: int) -> None:
        self._source = source
        self._begin = begin
        self._end = end
        self.error: PeithoError | None = None

    async def read(self) -> AsyncGenerator[bytes, None]:
        """Yield the bytes; the last piece ends where the part ends."""
        left = self._end - self._begin
        try:
            async with aclosing(self._source(self._begin)) as chunks:
                async for chunk in chunks:
                    yield chunk[:left]
                    left -= len(chunk[:left])
                    if not left:
                        return
            raise PeithoError(f"the blob ends {left} bytes too early")  # noqa: TRY301
        except PeithoError as error:
            self.error = error
            raise


def file_source(path: Path) -> BlobSource:
    """Return a file as a source."""

    async def read(offset: int) -> AsyncGenerator[bytes, None]:
        with path.open("rb") as file:
            file.seek(offset)
            while chunk := await asyncio.to_thread(file.read, _READ_BYTES):
                yield chunk

    return read


def bytes_source(content: bytes) -> BlobSource:
    """Return bytes in memory as a source."""

    async def read(offset: int) -> AsyncGenerator[bytes, None]:
        yield content[offset:]

    return read
