"""All registries that images come from and go to, and the account at our own."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import structlog

from peitho.clients.proxies import Proxies
from peitho.clients.registry.api import Registry, session
from peitho.clients.registry.transport import RegistryCredentials, RegistryEndpoint
from peitho.clients.retries import RetryPolicy
from peitho.formats.bounded_dict import BoundedDict
from peitho.formats.images.repositories import api_host, is_loopback
from peitho.settings.live import Live

log = structlog.get_logger()

_REMEMBERED = 100


@dataclass(frozen=True, slots=True)
class RegistryAccountOptions:
    """A user name and a password, or the files that they are in."""

    username: str = ""
    password: str = field(default="", repr=False)
    username_file: Path | None = None
    password_file: Path | None = None


class RegistryAccount:
    """An account whose name and password may be in files, which are read at each use."""

    def __init__(self, options: Live[RegistryAccountOptions]) -> None:
        self._options = options
        self._last: dict[Path, str] = {}
        self._unread: set[Path] = set()

    def read(self) -> RegistryCredentials | None:
        """
        Return the credentials; None if there are none, or half of them could never be read.

        If a file cannot be read, its last content counts.
        """
        options = self._options.now
        username = self._content(options.username_file, options.username)
        password = self._content(options.password_file, options.password)
        if username is None or password is None or not (username or password):
            return None
        return RegistryCredentials(username, password)

    def obstacles(self, other: RegistryAccountOptions) -> list[str]:
        """Return why other options cannot be followed: each new file that cannot be read."""
        options = self._options.now
        files = {"username-file": other.username_file, "password-file": other.password_file}
        problems = []
        for key, file in files.items():
            if file is None or file in (options.username_file, options.password_file):
                continue
            try:
                self._last[file] = file.read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                cause = type(error).__name__
                problems.append(f"docker.registry.{key}: {file} cannot be read: {cause}")
        return problems

    def _content(self, file: Path | None, otherwise: str) -> str | None:
        if file is None:
            return otherwise
        try:
            self._last[file] = file.read_text().strip()
            self._unread.discard(file)
        except (OSError, UnicodeDecodeError) as error:
            if file not in self._unread:  # told once, however often it is used
                cause = type(error).__name__
                log.warning("credentials file not read", file=str(file), cause=cause)
            self._unread.add(file)
        return self._last.get(file, otherwise or None)


class Registries:
    """Our own registry, and the latest others that callers have named."""

    def __init__(
        self,
        own: RegistryEndpoint,
        account: RegistryAccount,
        *,
        patience: RetryPolicy | None = None,
        proxies: Proxies | None = None,
    ) -> None:
        self._own = own
        self._account = account
        self._patience = patience
        self._proxies = proxies
        self._stack = AsyncExitStack()
        self._http: aiohttp.ClientSession | None = None
        self._ours: Registry | None = None
        self._others: BoundedDict[str, Registry] = BoundedDict(_REMEMBERED)

    async def run(self) -> None:
        """Wait for the end of the program, and close all connections then."""
        async with self._stack:
            await asyncio.Event().wait()

    async def own(self) -> Registry:
        """Return the registry that images are pushed to."""
        if self._ours is None:
            own = self._own
            endpoint = RegistryEndpoint(api_host(own.host), own.prefix, own.insecure, own.ca_file)
            self._ours = await self._made(endpoint, self._account.read)
        return self._ours

    async def of(self, domain: str) -> Registry:
        """Return the registry of a reference; only our own is shown the account."""
        if domain == self._own.host:
            return await self.own()
        registry = self._others.get(domain)
        if registry is None:
            insecure, ca_file = is_loopback(domain), self._own.ca_file
            endpoint = RegistryEndpoint(api_host(domain), insecure=insecure, ca_file=ca_file)
            registry = await self._made(endpoint, _nobody)
        self._others[domain] = registry  # whoever has one that goes for it may go on with that
        return registry

    def has_account(self, domain: str) -> bool:
        """Whether the registry of a reference is our own, and there is an account for it."""
        return domain == self._own.host and self._account.read() is not None

    async def as_caller(self, domain: str, account: RegistryCredentials) -> Registry:
        """Return the registry of a reference with a given account, which is kept nowhere."""
        own = self._own if domain == self._own.host else None
        return await self._made(
            RegistryEndpoint(
                api_host(domain),
                own.prefix if own else "",
                own.insecure if own else is_loopback(domain),
                self._own.ca_file,
            ),
            lambda: account,
        )

    async def _made(
        self, endpoint: RegistryEndpoint, credentials: Callable[[], RegistryCredentials | None]
    ) -> Registry:
        if self._http is None:
            self._http = await self._stack.enter_async_context(session())
        return Registry.over(
            self._http, endpoint, credentials, patience=self._patience, proxies=self._proxies
        )


def _nobody() -> None:
    return None
