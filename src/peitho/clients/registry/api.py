"""
An OCI registry: manifests and blobs, by the distribution specification, version 2 of the API.

No blob is ever whole in memory, and what is there is not sent again
(docs/decisions/0009-registry-client.md says why this is our own).
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Literal, Self

import aiohttp
from yarl import URL

from peitho.clients.proxies import Proxies
from peitho.clients.registry.transport import (
    REDIRECTS,
    Method,
    RegistryCall,
    RegistryCredentials,
    RegistryEndpoint,
    RegistryError,
    RegistryTransport,
    read_limited,
)
from peitho.clients.registry.uploads import BlobSource, BlobUpload
from peitho.clients.retries import RetryPolicy
from peitho.errors import PeithoError
from peitho.formats.images import oci, referrers
from peitho.formats.images.oci import Descriptor

# The specification lets a registry refuse larger manifests; no configuration comes near it.
_SMALL_BYTES = 4 * 1024 * 1024
_CONNECT_SECONDS = 10.0
# A registry may take its time to check a large blob before it answers.
_SILENCE_SECONDS = 120.0
_NOT_FOUND = 404
_CREATED = 201
_ACCEPTED = 202
_PARTIAL = 206
_CHUNK_BYTES = 256 * 1024
_MOST_PAGES = 20

Outcome = Literal["present", "mounted", "sent"]


@dataclass(frozen=True, slots=True)
class ManifestContent:
    """A manifest, byte for byte as it is on the wire."""

    media_type: str
    digest: str
    body: bytes


def session() -> aiohttp.ClientSession:
    """Open a session for any number of registries; cookies of one are not sent to another."""
    timeout = aiohttp.ClientTimeout(
        total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS
    )
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=timeout,
        headers={"User-Agent": "peitho"},
        auto_decompress=False,
    )


class Registry:
    """A client of one registry; calls raise Unavailable, and RegistryError with its own words."""

    def __init__(self, calls: RegistryTransport) -> None:
        self._calls = calls

    @classmethod
    def over(
        cls,
        http: aiohttp.ClientSession,
        endpoint: RegistryEndpoint,
        credentials: Callable[[], RegistryCredentials | None],
        *,
        patience: RetryPolicy | None = None,
        proxies: Proxies | None = None,
    ) -> Self:
        """Make a client over a session; `credentials` is asked again at each use."""
        calls = RegistryTransport(
            http,
            endpoint,
            credentials,
            patience=patience or RetryPolicy(),
            proxies=proxies or Proxies(),
        )
        return cls(calls)

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        endpoint: RegistryEndpoint,
        credentials: Callable[[], RegistryCredentials | None],
        *,
        patience: RetryPolicy | None = None,
        proxies: Proxies | None = None,
    ) -> AsyncIterator[Self]:
        """Make a client with connections of its own."""
        async with session() as http:
            yield cls.over(http, endpoint, credentials, patience=patience, proxies=proxies)

    @property
    def host(self) -> str:
        """The registry's host and port."""
        return self._calls.endpoint.host

    async def ping(self) -> None:
        """Return if the registry answers at all, whatever it says. Raises Unavailable."""
        await self._calls.ping()

    async def log_in(self) -> None:
        """Return if the registry takes the account. Raises RegistryError, Unavailable."""
        call = RegistryCall("GET", self._calls.endpoint.url, "logging in", ())
        response = await self._calls.send(call)
        await self._expect(call, response)
        response.release()

    async def digest(self, repository: str, reference: str) -> str | None:
        """Return the digest that a tag leads to; None if there is no such tag."""
        response = await self._calls.send(self._manifest_call("HEAD", repository, reference))
        response.release()
        if response.status == _NOT_FOUND:
            return None
        digest = response.headers.get("Docker-Content-Digest", "")
        if response.ok and oci.is_digest(digest):
            return digest
        # It may be left out, or be of another algorithm; and a no has no words in it.
        content = await self.manifest(repository, reference)
        return content.digest if content else None

    async def manifest(self, repository: str, reference: str) -> ManifestContent | None:
        """Return a manifest or an index, by tag or digest; None if it is not there."""
        call = self._manifest_call("GET", repository, reference)
        response = await self._calls.send(call)
        if response.status == _NOT_FOUND:
            response.release()
            return None
        await self._expect(call, response)
        body = await self._body(call, response)
        digest = oci.digest_of(body)
        if oci.is_digest(reference) and digest != reference:
            raise PeithoError(f"registry {self.host}: {call.what}: another content than asked for")
        return ManifestContent(response.headers.get("Content-Type", ""), digest, body)

    async def referrers(self, repository: str, digest: str) -> ManifestContent | None:
        """
        Return the index of what is kept beside an image; None if nothing is.

        A registry before OCI 1.1 lists nothing: there the index is below a tag. One that has much
        to list does so in pages (distribution-spec, "Listing Referrers").
        """
        call = RegistryCall(
            "GET",
            self._url(repository, "referrers", digest),
            f"listing what is beside {repository}@{digest}",
            _scopes(repository, "pull"),
            {"Accept": oci.OCI_INDEX},
        )
        response = await self._calls.send(call)
        if not response.ok or response.content_type != oci.OCI_INDEX:
            response.release()
            return await self.manifest(repository, referrers.tag(digest))
        pages = [await self._body(call, response)]
        while (following := self._next_page(response)) and _has_room(pages):
            call = replace(call, url=following)
            response = await self._calls.send(call)
            await self._expect(call, response)
            pages.append(await self._body(call, response))
        body = referrers.joined(pages)
        return ManifestContent(oci.OCI_INDEX, oci.digest_of(body), body)

    def _next_page(self, response: aiohttp.ClientResponse) -> URL | None:
        """Return where a list goes on; None at its end, and for a place in another registry."""
        link = response.links.get("next")
        if link is None:
            return None
        following = URL(str(link["url"]))
        return following if following.origin() == self._calls.endpoint.url.origin() else None

    async def put_manifest(
        self, repository: str, tag: str, *, media_type: str, body: bytes
    ) -> bool:
        """
        Put a manifest under a tag or its digest; all its blobs must be there.

        Returns whether the registry itself lists it with its subject, if it has one.
        """
        call = RegistryCall(
            "PUT",
            self._url(repository, "manifests", tag),
            f"putting the manifest {repository}{'@' if oci.is_digest(tag) else ':'}{tag}",
            _scopes(repository, "pull,push"),
            {"Content-Type": media_type},
            body,
        )
        response = await self._calls.send(call)
        await self._expect(call, response)
        digest = response.headers.get("Docker-Content-Digest", "")
        response.release()
        if oci.is_digest(digest) and digest != oci.digest_of(body):
            raise PeithoError(f"registry {self.host}: {call.what}: it kept another content")
        return bool(response.headers.get("OCI-Subject"))

    async def delete_manifest(self, repository: str, digest: str) -> bool:
        """Delete a manifest with all its tags; False if it was not there."""
        call = RegistryCall(
            "DELETE",
            self._url(repository, "manifests", digest),
            f"deleting {repository}@{digest}",
            _scopes(repository, "delete"),
        )
        response = await self._calls.send(call)
        if response.status == _NOT_FOUND:
            response.release()
            return False
        await self._expect(call, response)
        response.release()
        return True

    async def has_blob(self, repository: str, digest: str) -> bool:
        """Whether a repository has a blob; if the registry does not tell, an upload will."""
        call = self._blob_call("HEAD", repository, digest, actions="pull,push")
        response = await self._calls.send(call)
        response.release()
        return response.ok

    async def small_blob(self, repository: str, blob: Descriptor) -> bytes:
        """Return a small blob, such as a configuration, after its digest was checked."""
        call = self._blob_call("GET", repository, blob.digest)
        response = await self._calls.send(call)
        await self._expect(call, response)
        body = await self._body(call, response)
        if oci.digest_of(body) != blob.digest:
            raise PeithoError(f"registry {self.host}: {call.what}: another content than asked for")
        return body

    def source(self, repository: str, blob: Descriptor) -> BlobSource:
        """Return a blob as a source for another registry, which checks its digest."""

        async def read(offset: int) -> AsyncGenerator[bytes, None]:
            headers = {"Range": f"bytes={offset}-"} if offset else {}
            call = self._blob_call("GET", repository, blob.digest, headers=headers)
            response = await self._calls.send(call)
            await self._expect(call, response)
            skip = 0 if response.status == _PARTIAL else offset
            try:
                async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                    kept = chunk[skip:]
                    skip -= len(chunk) - len(kept)
                    if kept:
                        yield kept
            except (aiohttp.ClientError, TimeoutError) as error:
                raise self._calls.unreachable(call, error) from error
            finally:
                response.close()

        return read

    async def upload(
        self,
        repository: str,
        blob: Descriptor,
        source: BlobSource,
        *,
        holders: tuple[str, ...] = (),
    ) -> Outcome:
        """
        Make sure a repository has a blob: it is there, is mounted from another, or is sent.

        `holders` are repositories of this registry that may have it.
        """
        if await self.has_blob(repository, blob.digest):
            return "present"
        upload = BlobUpload(self._calls, repository, blob, source)
        for holder in holders:
            if holder != repository and await self.mount(repository, blob.digest, holder, upload):
                return "mounted"
        await upload.run()
        return "sent"

    async def mount(
        self, repository: str, digest: str, holder: str, upload: BlobUpload | None = None
    ) -> bool:
        """
        Mount a blob from another repository; False if the registry does not.

        The registry then begins an upload instead, which `upload` takes over.
        """
        call = RegistryCall(
            "POST",
            self._url(repository, "blobs", "uploads", "").with_query(
                mount=digest, **{"from": holder}
            ),
            f"mounting {digest} of {holder} in {repository}",
            (*_scopes(repository, "pull,push"), *_scopes(holder, "pull")),
        )
        try:
            response = await self._calls.send(call)
        except RegistryError:
            return False
        location = response.headers.get("Location", "")
        response.release()
        if upload and response.status == _ACCEPTED and location:
            upload.take_over(location)
        return response.status == _CREATED

    async def _body(self, call: RegistryCall, response: aiohttp.ClientResponse) -> bytes:
        try:
            return await read_limited(response, limit_bytes=_SMALL_BYTES)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._calls.unreachable(call, error) from error

    async def _expect(self, call: RegistryCall, response: aiohttp.ClientResponse) -> None:
        """Raise RegistryError unless the answer is a yes."""
        if not response.ok or response.status in REDIRECTS:
            raise await self._calls.refusal(call, response)

    def _manifest_call(self, method: Method, repository: str, reference: str) -> RegistryCall:
        separator = "@" if oci.is_digest(reference) else ":"
        return RegistryCall(
            method,
            self._url(repository, "manifests", reference),
            f"reading {repository}{separator}{reference}",
            _scopes(repository, "pull"),
            {"Accept": ", ".join(oci.MANIFESTS)},
        )

    def _blob_call(
        self,
        method: Method,
        repository: str,
        digest: str,
        *,
        actions: str = "pull",
        headers: dict[str, str] | None = None,
    ) -> RegistryCall:
        return RegistryCall(
            method,
            self._url(repository, "blobs", digest),
            f"reading {digest} of {repository}",
            _scopes(repository, actions),
            headers or {},
        )

    def _url(self, *parts: str) -> URL:
        return self._calls.endpoint.url.join(URL("/".join(parts)))


def _scopes(repository: str, actions: str) -> tuple[str, ...]:
    return (f"repository:{repository}:{actions}",)


def _has_room(pages: Sequence[bytes]) -> bool:
    """Whether another page is read: all of them are held, and read as JSON."""
    return len(pages) < _MOST_PAGES and sum(map(len, pages)) < _SMALL_BYTES
