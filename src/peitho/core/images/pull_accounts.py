"""The accounts by which nodes pull runtime images: Peitho reads these with them, too."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from peitho.clients.kubernetes.api import Kubernetes, KubernetesError
from peitho.clients.registry.transport import RegistryCredentials
from peitho.errors import InvalidArgument, PeithoError
from peitho.formats.images.references import Reference
from peitho.formats.kubernetes import pull_accounts
from peitho.formats.kubernetes.pod_options import PodOptions
from peitho.formats.kubernetes.pull_accounts import PullAccount
from peitho.settings.live import Live

_FORBIDDEN = 403


@dataclass(frozen=True, slots=True)
class FoundAccount:
    """The account for one image, if there is one, and why Secrets could not be read."""

    credentials: RegistryCredentials | None = field(default=None, repr=False)
    problems: Sequence[str] = ()


class PullAccounts:
    """Reads the pull Secrets of chaincode Pods at each use, and keeps nothing of them."""

    def __init__(self, kubernetes: Kubernetes, pods: Live[PodOptions]) -> None:
        self._kubernetes = kubernetes
        self._pods = pods

    async def find(self, reference: Reference) -> FoundAccount:
        """Return the account for an image; a Secret that cannot be read is a problem, no error."""
        accounts: list[PullAccount] = []
        problems: list[str] = []
        for name in pull_accounts.secret_names(self._pods.now):
            try:
                accounts += await self._read(name)
            except PeithoError as error:
                problems.append(f"the pull secret {name} does not count: {error}")
        account = pull_accounts.chosen(accounts, reference.domain, reference.repository)
        if account is None:
            return FoundAccount(None, problems)
        return FoundAccount(RegistryCredentials(account.username, account.password), problems)

    async def _read(self, name: str) -> list[PullAccount]:
        try:
            secret = await self._kubernetes.get("Secret", name)
        except KubernetesError as error:
            if error.code != _FORBIDDEN:
                raise
            raise PeithoError("Peitho may not `get` secrets: give its Role this right") from error
        if secret is None:
            raise InvalidArgument("it is not in the namespace: make it, or name another")
        return pull_accounts.read(secret)
