"""The pull Secrets of Pods: what each is for, and whether its registries take its accounts."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field

from peitho.clients.kubernetes.api import Kubernetes
from peitho.clients.registry.registries import Registries, RegistryAccount
from peitho.clients.registry.transport import RegistryCredentials, RegistryError
from peitho.clients.retries import RetryPolicy
from peitho.core.images.pull_accounts import PullAccounts, SecretRead
from peitho.errors import InvalidArgument, PeithoError
from peitho.formats.images import references
from peitho.formats.kubernetes import pull_accounts, pull_secret
from peitho.formats.kubernetes.pull_accounts import PullAccount
from peitho.program import options
from peitho.program.checks.finding import Finding, ok, warning, wrong
from peitho.settings.live import Live
from peitho.settings.models import Settings

_NAME = "pull secrets"
_ONCE = RetryPolicy(attempts=1)
_LOG_IN_SECONDS = 5.0
_MOST_ACCOUNTS = 50
_REFUSED = (401, 403)
_SEE_TO_IT = (
    "make it anew (`kubectl create secret docker-registry`), or name another: in "
    "docker.registry.pull-secret, imagePullSecrets of the templates, or the ServiceAccount"
)
_NO_ACCOUNT = "apply the Role of deploy/ there; make the ServiceAccount, if a template names it"


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


async def pull_secrets(settings: Settings, kubernetes: Kubernetes) -> AsyncIterator[Finding]:
    """Tell which pull Secret is for which registry, and which does not count or is refused."""
    secrets: dict[str, _Used] = {}
    kinds = {"builds": options.build_pods(settings), "chaincode": options.chaincode_pods(settings)}
    told: dict[str, str] = {}
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
    for said, do in told.items():
        yield warning(_NAME, said, do)
    if not secrets and not told:
        yield ok(_NAME, f"none: Pods in {kubernetes.namespace} pull without an account")
    refused = await _refusals(settings, [used.secret for used in secrets.values()])
    for name, used in secrets.items():
        for finding in _of_secret(settings, used, refused.get(name, ())):
            yield finding


def _left_out(secret: SecretRead, own: str) -> str:
    return (
        f"{secret.name}, which {secret.named_by} names, is left out of Pods, which have {own}: "
        f"{secret.problem}"
    )


def _of_secret(settings: Settings, used: _Used, refused: Iterable[str]) -> Iterator[Finding]:
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
    for said in refused:  # it may be for images that nobody of ours wants
        yield warning(_NAME, f"{secret.name}: {said}", _SEE_TO_IT)


async def _refusals(settings: Settings, secrets: Iterable[SecretRead]) -> dict[str, list[str]]:
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
    refused: dict[str, list[str]] = {}
    for account, task in tasks.items():
        if said := task.result():
            refused.setdefault(account.secret, []).append(said)
    return refused


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
        return f"{account.host} refuses its account: {error}" if error.code in _REFUSED else ""
    except (TimeoutError, PeithoError):
        return ""  # nodes may reach what cannot be reached from here
    return ""
