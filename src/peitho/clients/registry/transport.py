"""
Calls to a registry: credentials, retries, redirects, and errors in the registry's own words.

Credentials go to the registry and to the token server that it names, and to nobody else; no error
and no log has them.
"""

import base64
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import aiohttp
from yarl import URL

from peitho.clients.proxies import Proxies
from peitho.clients.retries import PASSING, Again, Refused, RetryPolicy, Tries, asked_seconds
from peitho.clients.tls import CertificateFiles
from peitho.errors import PeithoError, Unavailable
from peitho.formats.bounded_dict import BoundedDict
from peitho.formats.http_errors import without_content
from peitho.formats.images import auth_challenges
from peitho.formats.images.auth_challenges import AuthChallenge, RegistryToken

REDIRECTS = (301, 302, 303, 307, 308)
# Those that keep method and body.
_SAME_AGAIN = (307, 308)
# 408: it waited too long for our bytes.
_AGAIN = PASSING | {408}
_UNAUTHORIZED = 401
_ERROR_BYTES = 4096
_TOKEN_BYTES = 1024 * 1024
_MOST_REDIRECTS = 4
_REMEMBERED_TOKENS = 1000
# A token is not used in the last seconds of its life: the call has to arrive within it.
_MARGIN_SECONDS = 10.0

Method = Literal["GET", "HEAD", "POST", "PATCH", "PUT", "DELETE"]


@dataclass(frozen=True, slots=True, repr=False)
class RegistryCredentials:
    """A user name and a password."""

    username: str
    password: str


@dataclass(frozen=True, slots=True)
class RegistryEndpoint:
    """The API of a registry: host and port, and a path before `/v2/` if there is one."""

    host: str
    prefix: str = ""
    insecure: bool = False
    ca_file: Path | None = None

    @property
    def url(self) -> URL:
        """The URL of the API's root."""
        scheme = "http" if self.insecure else "https"
        prefix = f"/{self.prefix.strip('/')}".rstrip("/")
        return URL(f"{scheme}://{self.host}{prefix}/v2/")


@dataclass(frozen=True, slots=True)
class RegistryCall:
    """One call; errors name `what`, and `body` gives the body again at each try."""

    method: Method
    url: URL
    what: str
    scopes: tuple[str, ...]
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Callable[[], AsyncIterator[bytes]] | bytes | None = None


class RegistryError(Refused):
    """The registry refused a call; `code` is its HTTP status."""


class RegistryTransport:
    """Makes calls to one registry."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        endpoint: RegistryEndpoint,
        credentials: Callable[[], RegistryCredentials | None],
        *,
        patience: RetryPolicy,
        proxies: Proxies,
    ) -> None:
        self.endpoint = endpoint
        self.patience = patience
        self._http = http
        self._proxies = proxies
        self._trust = (
            CertificateFiles("docker.registry.ca-file", endpoint.ca_file, beside_system=True)
            if endpoint.ca_file
            else None  # those of the system, as they are loaded already
        )
        self._credentials = credentials
        self._challenge: AuthChallenge | None = None
        self._tokens: BoundedDict[tuple[str, ...], tuple[RegistryToken, float]] = BoundedDict(
            _REMEMBERED_TOKENS
        )

    async def send(self, call: RegistryCall) -> aiohttp.ClientResponse:
        """
        Return the answer to a call, tried again where that may help; the caller releases it.

        Raises Unavailable, RegistryError.
        """
        return await Tries(self.patience).run(lambda: self.attempt(call))

    async def ping(self) -> None:
        """Ask once, without credentials. Raises Unavailable, RegistryError for its own trouble."""
        call = RegistryCall("GET", self.endpoint.url, "asking whether it is there", ())
        try:
            response = await self._once(call, call.url, {})
        except Again as again:
            raise again.reason from again
        if response.status in PASSING:
            raise await self.refusal(call, response)
        response.release()

    async def attempt(self, call: RegistryCall) -> aiohttp.ClientResponse:
        """
        Return the answer to one try of a call, after a 401 and redirects.

        Raises Again for what may pass, Unavailable.
        """
        response, sent = await self._authorized(call)
        if response.status in REDIRECTS:
            is_reading = call.method in ("GET", "HEAD")
            follow = self._followed if is_reading else self._sent_again
            response = await follow(call, response, sent)
        if response.status in _AGAIN:
            error = await self.refusal(call, response)
            after = asked_seconds(response.headers.get("Retry-After", ""))
            raise Again(error, after_seconds=after)
        return response

    async def refusal(self, call: RegistryCall, response: aiohttp.ClientResponse) -> RegistryError:
        """Return the error of an answer, in the registry's own words, and release the answer."""
        ours = _origin(response.url) == _origin(self.endpoint.url)
        words = await self._words(response) if ours else f"from {response.url.host}"
        response.close()
        said = f"{response.status} {words}".strip()
        return RegistryError(
            f"registry {self.endpoint.host}: {call.what}: {said}", code=response.status
        )

    def unreachable(self, call: RegistryCall, error: BaseException) -> Unavailable:
        """Return the error of a call that got no answer."""
        said = str(error)
        if isinstance(error, (aiohttp.ClientResponseError, aiohttp.ClientPayloadError)):
            said = without_content(said)  # of a malformed answer, which may have a token
        cause = auth_challenges.refusal(
            (said or type(error).__name__).encode(), secrets=self._secrets()
        )
        return Unavailable(
            f"The registry {self.endpoint.host} cannot be reached: {call.what}: {cause}"
        )

    async def _authorized(
        self, call: RegistryCall
    ) -> tuple[aiohttp.ClientResponse, dict[str, str]]:
        """Return the answer to a call, and the credentials that the registry asked for."""
        sent = await self._authorization(call.scopes)
        response = await self._once(call, call.url, sent)
        if response.status != _UNAUTHORIZED:
            return response, sent
        asked = response.headers.getall("WWW-Authenticate", [])
        self._tokens.pop(call.scopes, None)
        self._challenge = auth_challenges.read_challenge(asked)
        try:
            fresh = await self._authorization(call.scopes)
        except BaseException:
            response.close()
            raise
        if fresh == sent:
            return response, sent
        response.release()
        return await self._once(call, call.url, fresh), fresh

    async def _once(
        self, call: RegistryCall, url: URL, headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        body = call.body() if callable(call.body) else call.body
        try:
            return await self._http.request(
                call.method,
                url,
                headers={**call.headers, **headers},
                data=body,
                allow_redirects=False,
                ssl=self._trust.context() if self._trust else True,
                proxy=self._proxies.of(url.scheme, url.host or "", url.port),
            )
        except aiohttp.ClientSSLError as error:
            raise self.unreachable(call, error) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Again(self.unreachable(call, error)) from error

    async def _followed(
        self, call: RegistryCall, response: aiohttp.ClientResponse, sent: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        """Follow redirects, such as to a bucket, without our credentials."""
        for _ in range(_MOST_REDIRECTS):
            if response.status not in REDIRECTS:
                return response
            target = await self._led_to(call, response)
            response.release()
            if not self._may_be_asked(target):
                raise RegistryError(
                    f"registry {self.endpoint.host}: {call.what}: leads to no https address",
                    code=response.status,
                )
            ours = _origin(target) == _origin(self.endpoint.url)
            response = await self._once(call, target, sent if ours else {})
        raise await self.refusal(call, response)

    async def _led_to(self, call: RegistryCall, response: aiohttp.ClientResponse) -> URL:
        """Return where a redirect leads. Raises RegistryError if it says nothing of the kind."""
        try:
            return response.url.join(URL(response.headers["Location"], encoded=True))
        except (KeyError, ValueError):
            raise await self.refusal(call, response) from None

    async def _sent_again(
        self, call: RegistryCall, response: aiohttp.ClientResponse, sent: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        """Follow a redirect that asks for the same call, body and all, at the registry's host."""
        for _ in range(_MOST_REDIRECTS):
            if response.status not in REDIRECTS:
                return response
            target = await self._led_to(call, response)
            if response.status not in _SAME_AGAIN:
                raise await self.refusal(call, response)
            response.release()
            if target.host != self.endpoint.url.host or not self._may_be_asked(target):
                raise RegistryError(
                    f"registry {self.endpoint.host}: {call.what}: {response.status} leads to "
                    f"{target.scheme}://{target.host}; nothing is sent there",
                    code=response.status,
                )
            ours = _origin(target) == _origin(self.endpoint.url)
            response = await self._once(call, target, sent if ours else {})
        raise await self.refusal(call, response)

    async def _authorization(self, scopes: tuple[str, ...]) -> dict[str, str]:
        challenge = self._challenge
        if challenge is None:
            return {}
        if challenge.scheme == "basic":
            credentials = self._credentials()
            return {"Authorization": f"Basic {_basic(credentials)}"} if credentials else {}
        token, ends = self._tokens.get(scopes, (None, 0.0))
        if token is None or ends < time.monotonic():
            token = await self._fetch_token(challenge, scopes)
            margin = min(_MARGIN_SECONDS, token.seconds / 4)
            self._tokens[scopes] = (token, time.monotonic() + token.seconds - margin)
        return {"Authorization": f"Bearer {token.text}"}

    async def _fetch_token(
        self, challenge: AuthChallenge, scopes: tuple[str, ...]
    ) -> RegistryToken:
        try:
            realm = URL(challenge.realm)
        except ValueError:
            realm = URL()
        call = RegistryCall("GET", realm, "asking its token server", scopes)
        if not self._may_be_asked(realm):
            raise RegistryError(
                f"registry {self.endpoint.host}: its token server is no https address",
                code=_UNAUTHORIZED,
            )
        query = [("service", challenge.service)] if challenge.service else []
        url = realm.update_query([*query, *(("scope", scope) for scope in scopes)])
        credentials = self._credentials()
        headers = {"Authorization": f"Basic {_basic(credentials)}"} if credentials else {}
        response = await self._once(call, url, headers)
        if response.status in _AGAIN:
            raise Again(await self._token_refusal(response))
        if not response.ok:
            raise await self._token_refusal(response)
        try:
            return auth_challenges.read_token(
                await read_limited(response, limit_bytes=_TOKEN_BYTES)
            )
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Again(self.unreachable(call, error)) from error
        except PeithoError as error:
            raise PeithoError(f"registry {self.endpoint.host}: {error}") from error

    def _may_be_asked(self, url: URL) -> bool:
        """Whether an address that the registry names is as safe as its own."""
        return bool(url.host) and (
            url.scheme == "https" or (url.scheme == "http" and self.endpoint.insecure)
        )

    async def _token_refusal(self, response: aiohttp.ClientResponse) -> RegistryError:
        words = await self._words(response)
        response.close()
        said = f"its token server answered {response.status} {words}".strip()
        return RegistryError(f"registry {self.endpoint.host}: {said}", code=response.status)

    async def _words(self, response: aiohttp.ClientResponse) -> str:
        """Why somebody says no; empty if that does not come."""
        try:
            content = await response.content.read(_ERROR_BYTES)
        except (aiohttp.ClientError, TimeoutError):
            return ""
        return auth_challenges.refusal(content, secrets=self._secrets())

    def _secrets(self) -> list[str]:
        credentials = self._credentials()
        own = [_basic(credentials), credentials.password] if credentials else []
        return [*own, *(token.text for token, _ in self._tokens.values())]


async def read_limited(response: aiohttp.ClientResponse, *, limit_bytes: int) -> bytes:
    """
    Read a body that must be small, and release the answer.

    Raises PeithoError if it is larger.
    """
    try:
        body = b""
        while len(body) <= limit_bytes and (chunk := await response.content.read(limit_bytes)):
            body += chunk
    finally:
        response.close() if not response.content.at_eof() else response.release()
    if len(body) > limit_bytes:
        raise PeithoError(f"an answer is larger than {limit_bytes} bytes")
    return body


def _basic(credentials: RegistryCredentials) -> str:
    return base64.b64encode(f"{credentials.username}:{credentials.password}".encode()).decode()


def _origin(url: URL) -> tuple[str, str | None, int | None]:
    return url.scheme, url.host, url.port
