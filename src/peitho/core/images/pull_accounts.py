"""The accounts by which nodes pull images: Peitho reads runtime images with them, too."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import structlog

from peitho.clients.kubernetes.api import Kubernetes, KubernetesError
from peitho.clients.registry.api import Registry
from peitho.clients.registry.registries import Registries
from peitho.clients.registry.transport import RegistryCredentials, RegistryError
from peitho.errors import InvalidArgument, NotFound, PeithoError, Unavailable
from peitho.formats.images.references import Reference
from peitho.formats.kubernetes import pull_accounts
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.kubernetes.pod_options import PodOptions
from peitho.formats.kubernetes.pull_accounts import PullAccount
from peitho.settings.live import Live

log = structlog.get_logger()

_FORBIDDEN = 403
_REFUSED = (401, 403)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SecretRead:
    """
    A pull Secret: who names it, its accounts, and why these could not be read, if so.

    One that is malformed keeps the kubelet from every pull, one that is missing from no other.
    """

    name: str
    named_by: str
    accounts: Sequence[PullAccount] = ()
    problem: str = ""
    is_missing: bool = False
    is_malformed: bool = False
    named_by_account: bool = False


@dataclass(frozen=True, slots=True)
class FoundAccounts:
    """The accounts for one image, as they are to be tried, and why Secrets could not be read."""

    accounts: Sequence[PullAccount] = ()
    problems: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class PullSecrets:
    """The pull Secrets of Pods; `problem` is why those of their ServiceAccount are not known."""

    secrets: Sequence[SecretRead] = ()
    problem: str = ""

    @property
    def problems(self) -> list[str]:
        """Why some do not count, each in a sentence."""
        own = [self.problem] if self.problem else []
        return own + [
            f"the pull secret {each.name} does not count: {each.problem}"
            for each in self.secrets
            if each.problem
        ]


@dataclass(frozen=True, slots=True)
class Readers:
    """The registry of an image, as each account sees it that is for the image; one at least."""

    registries: Sequence[Registry]
    found: FoundAccounts = FoundAccounts()

    async def first(self, read: Callable[[Registry], Awaitable[T]]) -> tuple[Registry, T]:
        """
        Return what the first account gets that may read, as the kubelet tries them.

        Raises what the last says, after a refusal with the pull secrets that did not help.
        """
        *others, last = self.registries
        for registry in others:
            try:
                return registry, await read(registry)
            except Unavailable:
                raise
            except PeithoError as error:
                log.info("account tried in vain", registry=registry.host, cause=str(error))
        try:
            return last, await read(last)
        except RegistryError as error:
            if error.code not in _REFUSED:
                raise
            shown = dict.fromkeys(each.secret for each in self.found.accounts)
            refused = [f"it refuses the account of the pull secret {name}" for name in shown]
            said = "; ".join((str(error), *refused, *self.found.problems))
            raise RegistryError(said, code=error.code) from error


class PullAccounts:
    """Reads the pull Secrets of Pods of one kind at each use, and keeps nothing of them."""

    def __init__(self, kubernetes: Kubernetes, pods: Live[PodOptions]) -> None:
        self._kubernetes = kubernetes
        self._pods = pods

    async def find(self, reference: Reference) -> FoundAccounts:
        """Return the accounts for an image; a Secret that cannot be read is a problem, no error."""
        read = await self.read()
        accounts = [account for secret in read.secrets for account in secret.accounts]
        found = pull_accounts.matching(accounts, reference.domain, reference.repository)
        return FoundAccounts(found, read.problems)

    async def readers(self, registries: Registries, reference: Reference) -> Readers:
        """Return the registry of an image: with our account, with each pull secret's, or none."""
        if registries.has_account(reference.domain):
            return Readers([await registries.own()])
        found = await self.find(reference)
        seen = [
            await registries.as_caller(
                reference.domain, RegistryCredentials(each.username, each.password)
            )
            for each in found.accounts
        ]
        return Readers(seen or [await registries.of(reference.domain)], found)

    async def read(self) -> PullSecrets:
        """
        Return the Secrets that Pods pull with.

        As admission has it, those of a ServiceAccount count where the operator's template names
        none; the one that Peitho adds for its own registry takes them from nobody here.
        """
        pods = self._pods.now
        own = [
            await self._secret(name, "the settings") for name in pull_accounts.secret_names(pods)
        ]
        if pull_accounts.template_names(pods):
            return PullSecrets(own)
        account = pull_accounts.service_account(pods)
        named_by = f"the ServiceAccount {account}"
        known = {each.name for each in own}
        try:
            found = await self._get("ServiceAccount", account)
        except PeithoError as error:
            return PullSecrets(own, f"the pull secrets of {named_by} are not known: {error}")
        more = [
            replace(await self._secret(name, named_by), named_by_account=True)
            for name in pull_accounts.names_of(found)
            if name not in known
        ]
        return PullSecrets([*own, *more])

    async def _secret(self, name: str, named_by: str) -> SecretRead:
        try:
            secret = await self._get("Secret", name)
        except PeithoError as error:
            is_missing = isinstance(error, NotFound)
            return SecretRead(name, named_by, problem=str(error), is_missing=is_missing)
        try:
            return SecretRead(name, named_by, pull_accounts.read(secret))
        except InvalidArgument as error:
            is_malformed = pull_accounts.is_of_its_type(secret)
            return SecretRead(name, named_by, problem=str(error), is_malformed=is_malformed)

    async def _get(self, kind: str, name: str) -> Manifest:
        try:
            found = await self._kubernetes.get(kind, name)
        except KubernetesError as error:
            if error.code != _FORBIDDEN:
                raise
            what = f"Peitho may not `get` {kind.lower()}s: give its Role this right"
            raise PeithoError(what) from error
        if found is None:
            raise NotFound("it is not in the namespace: make it, or name another")
        return found
