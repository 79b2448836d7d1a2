"""
The pull Secrets of a Pod's ServiceAccount, beside those that Peitho names.

Kubernetes gives a Pod those of its ServiceAccount only if the Pod has none (plugin/pkg/admission/
serviceaccount).  Where Peitho adds one for its registry, it adds those of the ServiceAccount, too:
builder images, prebuilt images and Peitho's own may be in other registries.
"""

import asyncio
from dataclasses import dataclass

import structlog

from peitho.clients.kubernetes.api import Kubernetes
from peitho.errors import InvalidArgument, PeithoError
from peitho.formats.bounded_dict import BoundedDict
from peitho.formats.kubernetes import pull_accounts, user_namespace
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.kubernetes.pod_options import PodOptions

log = structlog.get_logger()

# Many launches at once ask once; who changes a ServiceAccount tries again later than that.
_FRESH_SECONDS = 10.0
_MOST_ACCOUNTS = 100


@dataclass(frozen=True, slots=True)
class _Known:
    """The Secrets of a ServiceAccount, when they were read, and why they are not known, if so."""

    names: tuple[str, ...]
    at_seconds: float
    cause: str = ""


class AccountSecrets:
    """Those of one namespace, as they were a moment ago."""

    def __init__(self, kubernetes: Kubernetes) -> None:
        self._kubernetes = kubernetes
        self._known: BoundedDict[str, _Known] = BoundedDict(_MOST_ACCOUNTS)

    async def added(self, made: Manifest, options: PodOptions) -> Manifest:
        """
        Return a Pod or a Job made with these options, with the pull Secrets of its ServiceAccount.

        Where these are not known, and where a template names its own, it stays as it is.
        """
        spec = user_namespace.pod_of(made)["spec"]
        account = pull_accounts.hidden_account(spec, options)
        names = await self._names(account) if account else ()
        return pull_accounts.with_names(made, names) if names else made

    async def _names(self, account: str) -> tuple[str, ...]:
        now = asyncio.get_running_loop().time()
        before = self._known.get(account)
        if before and now - before.at_seconds < _FRESH_SECONDS:
            return before.names
        try:
            known = _Known(await self._read(account), now)
        except PeithoError as error:
            known = _Known((), now, str(error))
            if before is None or before.cause != known.cause:
                log.warning("pull secrets not known", service_account=account, cause=known.cause)
        self._known[account] = known
        return known.names

    async def _read(self, account: str) -> tuple[str, ...]:
        """Return their names, without those that would keep the kubelet from every pull."""
        found = await self._kubernetes.get("ServiceAccount", account)
        names = pull_accounts.names_of(found) if found else ()
        return tuple([name for name in names if not await self._is_malformed(name)])

    async def _is_malformed(self, name: str) -> bool:
        secret = await self._kubernetes.get("Secret", name)
        try:
            if secret:
                pull_accounts.read(secret)
        except InvalidArgument:
            return pull_accounts.is_of_its_type(secret or {})
        return False
