"""The Secret with which nodes pull from the registry; it follows the account."""

import asyncio
from dataclasses import dataclass

import structlog

from peitho.clients.kubernetes.api import Kubernetes, KubernetesError
from peitho.clients.registry.registries import RegistryAccount
from peitho.errors import Conflict, PeithoError
from peitho.formats.kubernetes import pull_secret
from peitho.formats.kubernetes.objects import Manifest
from peitho.settings.live import Live

log = structlog.get_logger()

_PAUSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class PullSecretOptions:
    """Whether the Secret is wanted, and its instance, registry and e-mail address."""

    is_wanted: bool
    instance: str
    host: str
    email: str


class PullSecret:
    """Keeps the Secret of one namespace."""

    def __init__(
        self, kubernetes: Kubernetes, account: RegistryAccount, options: Live[PullSecretOptions]
    ) -> None:
        self._kubernetes = kubernetes
        self._account = account
        self._options = options
        self._put: Manifest | None = None

    async def run(self) -> None:
        """Make the Secret once it is wanted, and again when the account changes; for ever."""
        while True:
            try:
                await self.put()
            except PeithoError as error:
                log.warning("pull secret not made yet", cause=str(error))
            await asyncio.sleep(_PAUSE_SECONDS)

    async def put(self) -> None:
        """
        Make or change the Secret; do nothing if it is there as wanted.

        Raises Conflict if a Secret of that name is not Peitho's, KubernetesError, Unavailable.
        """
        options = self._options.now
        account = self._account.read() if options.is_wanted else None
        if account is None:
            return
        wanted = pull_secret.manifest(
            options.instance,
            host=options.host,
            username=account.username,
            password=account.password,
            email=options.email,
        )
        if wanted == self._put:
            return
        name = wanted["metadata"]["name"]
        try:
            await self._kubernetes.create(wanted)
        except KubernetesError as error:
            if error.reason != "AlreadyExists":
                raise
            await self._change(name, wanted, options.instance)
        self._put = wanted
        log.info("pull secret made", secret=name, registry=options.host)

    async def _change(self, name: str, wanted: Manifest, instance: str) -> None:
        present = await self._kubernetes.get("Secret", name)
        if present is not None and not pull_secret.is_own(present, instance):
            raise Conflict(
                f"the Secret {name} is not Peitho's: name it in docker.registry.pull-secret, or "
                "give it another name"
            )
        await self._kubernetes.patch("Secret", name, {"data": wanted["data"]})
