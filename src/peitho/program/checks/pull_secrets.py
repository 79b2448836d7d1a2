"""The pull Secrets of Pods: what each is for, and whether its registries take its accounts."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from peitho.clients.kubernetes.api import Kubernetes
from peitho.clients.registry.registries import Registries, RegistryAccount
from peitho.clients.registry.transport import RegistryCredentials, RegistryError
from peitho.clients.retries import RetryPolicy
from peitho.core.images.pull_accounts import PullAccounts, SecretRead
from peitho.errors import InvalidArgument, PeithoError
from peitho.formats.images import references, repositories
from peitho.formats.kubernetes import pull_accounts, pull_secret
from peitho.formats.kubernetes.pull_accounts import PullAccount
from peitho.program import options
from peitho.program.checks.finding import Finding, ok, warning, wrong
from peitho.settings.live import Live
from peitho.settings.models import Settings

_NAME = "pull secrets"
_BUILDS, _CHAINCODE = "builds", "chaincode"
_ONCE = RetryPolicy(attempts=1)
_LOG_IN_SECONDS = 5.0
_MOST_ACCOUNTS = 50
_REFUSED = (401, 403)
_SEE_TO_IT = (
    "make it anew (`kubectl create secret docker-registry`), or name another: in "
    "docker.registry.pull-secret, imagePullSecrets of the templates, or the ServiceAccount"
)
_NO_ACCOUNT = "apply the Role of deploy/ there; make the ServiceAccount, if a template names it"


@dataclass(frozen=True, slots=True)
class Needed:
    """Images that nodes pull for Pods of builds and of chaincode, as they are named there."""

    builders: Sequence[str] = ()
    runtimes: Sequence[str] = ()


@dataclass(slots=True)
class _Used:
    """A Secret, and which Pods have it, by who names it for them."""

    secret: SecretRead
    pods: dict[str, list[str]] = field(default_factory=dict)

    @property
    def who(self) -> str:
        """It, and for which Pods it is."""
        named = (f"{by} names for Pods of {' and '.join(kinds)}" for by, kinds in self.pods.items())
        return f"{self.secret.name}, which {' and '.join(named)}"


async def pull_secrets(
    settings: Settings, kubernetes: Kubernetes, needed: Needed | None = None
) -> AsyncIterator[Finding]:
    """
    Tell which pull Secret is for which registry, and which does not count or is refused.

    Without `needed` no registry is asked: each try with a stale password may lock its account.
    """
    secrets, told = await _named(settings, kubernetes)
    for said, do in told.items():
        yield warning(_NAME, said, do)
    if not secrets and not told:
        yield ok(_NAME, f"none: Pods in {kubernetes.namespace} pull without an account")
    for used in secrets:
        for finding in _of_secret(settings, used):
            yield finding
    if needed:
        async for finding in _asked(settings, secrets, needed):
            yield finding


async def _named(
    settings: Settings, kubernetes: Kubernetes
) -> tuple[Sequence[_Used], Mapping[str, str]]:
    """Return the Secrets of Pods, and what to do by what keeps Pods from those of others."""
    secrets: dict[str, _Used] = {}
    told: dict[str, str] = {}
    kinds = {_BUILDS: options.build_pods(settings), _CHAINCODE: options.chaincode_pods(settings)}
    for kind, pods in kinds.items():
        found = await PullAccounts(kubernetes, Live(pods)).read()
        own = ", ".join(pull_accounts.secret_names(pods))
        if found.problem:
            lacking = f"; Pods have {own} alone" if own else ""
            told[f"{found.problem}{lacking}"] = _NO_ACCOUNT
        for each in found.secrets:
            used = secrets.setdefault(each.name, _Used(each))
            if own and each.named_by_account and each.is_malformed:
                told[_left_out(each, own)] = _SEE_TO_IT
            else:
                used.pods.setdefault(each.named_by, []).append(kind)
    return list(secrets.values()), told


async def _asked(
    settings: Settings, secrets: Sequence[_Used], needed: Needed
) -> AsyncIterator[Finding]:
    """Ask the registries, and tell which images nodes cannot have since they refuse."""
    refused = await _refusals(settings, [used.secret for used in secrets])
    lost = {
        account: image
        for kind, images in _images(settings, needed).items()
        for image in images
        for account in _lost(image, _accounts_of(kind, secrets), refused)
    }
    for account, cause in refused.items():
        yield _refused(account, cause, lost.get(account, ""))


def _left_out(secret: SecretRead, own: str) -> str:
    return (
        f"{secret.name}, which {secret.named_by} names, is left out of Pods, which have {own}: "
        f"{secret.problem}"
    )


def _of_secret(settings: Settings, used: _Used) -> Iterator[Finding]:
    secret, who = used.secret, used.who
    if not used.pods:
        pass  # told already: no Pod has it
    elif secret.is_missing and secret.name == pull_secret.name(settings.peitho.instance):
        yield ok(_NAME, f"{secret.name} is made of the account of docker.registry at the start")
    elif secret.problem:
        tell = wrong if secret.is_malformed else warning
        yield tell(_NAME, f"{who}, does not count: {secret.problem}", _SEE_TO_IT)
    elif not secret.accounts:
        yield warning(_NAME, f"{who}, has no account that can be used here", _SEE_TO_IT)
    else:
        places = ", ".join(dict.fromkeys(each.place for each in secret.accounts))
        yield ok(_NAME, f"{who}, is for {places}")


def _refused(account: PullAccount, cause: str, lost: str) -> Finding:
    said = f"{account.secret}: {account.host} refuses its account: {cause}"
    if lost:
        return wrong(_NAME, f"{said}; so no node can pull {lost}, unless it has it", _SEE_TO_IT)
    return warning(_NAME, said, _SEE_TO_IT)  # it may be for images that nobody of ours wants


def _images(settings: Settings, needed: Needed) -> dict[str, list[str]]:
    """The images of Pods by kind, as nodes pull them."""
    own, rewrite = settings.peitho.puller_image, settings.images.rewrite
    builds, chaincode = [own], [own]
    builds += [references.rewritten(name, rewrite) for name in needed.builders]
    if settings.peitho.image_mode == "registry":
        pushed = options.registry_publisher(settings)
        place = repositories.location("chaincode", server=pushed.host, project=pushed.path)
        chaincode = [f"{pushed.host}/{place.repository}"]
    else:
        chaincode += [references.rewritten(name, rewrite) for name in needed.runtimes]
    return {_BUILDS: [] if settings.docker.endpoint else builds, _CHAINCODE: chaincode}


def _accounts_of(kind: str, secrets: Iterable[_Used]) -> list[PullAccount]:
    """The accounts that Pods of a kind have."""
    return [
        account
        for used in secrets
        if any(kind in kinds for kinds in used.pods.values())
        for account in used.secret.accounts
    ]


def _lost(
    image: str, accounts: Iterable[PullAccount], refused: Collection[PullAccount]
) -> Sequence[PullAccount]:
    """Return the accounts for an image if a node is refused with each of them, as it tries all."""
    try:
        reference = references.parse(image)
    except InvalidArgument:
        return ()
    found = pull_accounts.matching(accounts, reference.domain, reference.repository)
    return found if all(account in refused for account in found) else ()


async def _refusals(settings: Settings, secrets: Iterable[SecretRead]) -> dict[PullAccount, str]:
    """Return what registries that are reached from here say to accounts which they refuse."""
    accounts = [
        account for secret in secrets for account in secret.accounts if _is_one_host(account)
    ]
    registries = Registries(
        options.registry_endpoint(settings),
        RegistryAccount(Live(options.registry_account(settings))),
        patience=_ONCE,
        proxies=options.proxies(settings),
    )
    async with asyncio.TaskGroup() as group:
        running = group.create_task(registries.run(), name="registries")
        try:
            async with asyncio.TaskGroup() as asked:
                tasks = {
                    account: asked.create_task(_refusal(registries, account), name=account.place)
                    for account in dict.fromkeys(accounts[:_MOST_ACCOUNTS])
                }
        finally:
            running.cancel()
    return {account: said for account, task in tasks.items() if (said := task.result())}


def _is_one_host(account: PullAccount) -> bool:
    """Whether an account names a host that can be asked, and not many by a glob."""
    try:
        return references.parse(f"{account.host}/image").domain == account.host
    except InvalidArgument:
        return False


async def _refusal(registries: Registries, account: PullAccount) -> str:
    """Return what a registry says that refuses an account; empty if it does not, or is away."""
    credentials = RegistryCredentials(account.username, account.password)
    try:
        async with asyncio.timeout(_LOG_IN_SECONDS):
            registry = await registries.as_caller(account.host, credentials)
            await registry.log_in()
    except RegistryError as error:
        return str(error) if error.code in _REFUSED else ""
    except (TimeoutError, PeithoError):
        return ""  # nodes may reach what cannot be reached from here
    return ""
