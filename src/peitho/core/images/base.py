"""Builder and runtime images: who pulls them, and what is known of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import structlog

from peitho.clients.docker import Docker
from peitho.clients.registry.registries import RegistryAccount
from peitho.errors import InvalidArgument, NotFound, PeithoError
from peitho.formats.bounded_dict import BoundedDict
from peitho.formats.docker import registry_auth
from peitho.formats.docker.registry_auth import NOBODY, RegistryAuth, RegistryAuths
from peitho.formats.images import references
from peitho.formats.images.references import Reference
from peitho.settings.live import Live

log = structlog.get_logger()

# What a peer puts on each image that it has built, since 1.0 (core/container/util, Dockerfile).
_CHAINCODE_LABEL = "org.hyperledger.fabric.chaincode.type"
_REMEMBERED = 1000


@dataclass(frozen=True, slots=True)
class BaseImage:
    """An image that is not Peitho's own; a field is empty where nothing is known."""

    reference: str
    id: str = ""
    architecture: str = ""
    created: str = ""
    size_bytes: int = 0


class BaseImages(Protocol):
    """Builder and runtime images, as far as peers ask for them."""

    async def pull(self, name: str, auths: RegistryAuths = NOBODY) -> str:
        """
        Pull an image, or note that it will be pulled; return a line that says which.

        `auths` are the caller's own accounts, for this pull alone. Raises InvalidArgument if the
        name is no reference, and the errors of the pull.
        """
        ...

    async def find(self, name: str) -> BaseImage | None:
        """Return the image of that name or ID, or None."""
        ...

    async def require(self, name: str) -> None:
        """Raise NotFound, in Docker's words, if the image has to be pulled first."""
        ...


class NodeImages:
    """Images that nodes pull when a Pod first needs them; until then only names are known."""

    def __init__(self) -> None:
        self._asked: BoundedDict[str, None] = BoundedDict(_REMEMBERED)

    async def pull(self, name: str, auths: RegistryAuths = NOBODY) -> str:
        """Remember the name; only the latest names are kept, and no account."""
        reference = references.parse(name)
        said = f"{reference.familiar()} is pulled by the node that first needs it"
        self._asked[reference.familiar()] = None
        if auths.of(reference.domain):
            return f"{said}, with the operator's pull secrets and not with this request's account"
        return said

    async def find(self, name: str) -> BaseImage | None:
        """Return an image of that name, if a peer asked to pull it."""
        reference = _parsed(name)
        if reference is None or reference.familiar() not in self._asked:
            return None
        return BaseImage(reference.familiar())

    async def require(self, name: str) -> None:
        """Do nothing: a node pulls the image that it lacks."""


@dataclass(frozen=True, slots=True)
class DaemonImagesOptions:
    """
    What the operator decided about images in the daemon of builds.

    `server` is the registry that the account is for; `rewrite` replaces images that peers name.
    """

    server: str
    rewrite: Mapping[str, str]


class DaemonImages:
    """Images in the Docker daemon that builds run in."""

    def __init__(
        self, docker: Docker, account: RegistryAccount, options: Live[DaemonImagesOptions]
    ) -> None:
        self._docker = docker
        self._account = account
        self._options = options

    async def pull(self, name: str, auths: RegistryAuths = NOBODY) -> str:
        """
        Return once the daemon has the image.

        An account is shown to its own registry alone: the caller's, or else the operator's.
        """
        asked = references.parse(name).familiar()
        reference = references.parse(self._rewritten(name))
        account = self._account_at(reference, auths)
        try:
            await self._docker.pull(
                f"{reference.domain}/{reference.repository}",
                reference.digest or reference.tag or "latest",
                auth=registry_auth.header(account) if account else "",
            )
        except PeithoError as error:
            said = registry_auth.hidden(str(error), account) if account else str(error)
            if said == str(error):
                raise
            raise PeithoError(said) from None
        log.info("image pulled", image=reference.familiar())
        return f"{asked} is there"

    async def find(self, name: str) -> BaseImage | None:
        """
        Return the image of that name or ID.

        Chaincode images do not count: a peer that used this daemon before has left some there, and
        would not build them again.
        """
        reference = _parsed(name)
        if reference is None:
            return None
        try:
            image = await self._docker.inspect_image(self._rewritten(name))
        except NotFound:
            return None
        if _CHAINCODE_LABEL in ((image.get("Config") or {}).get("Labels") or {}):
            return None
        return BaseImage(
            reference.familiar(),
            id=str(image.get("Id", "")),
            architecture=str(image.get("Architecture", "")),
            created=str(image.get("Created", "")),
            size_bytes=int(image.get("Size") or 0),
        )

    async def require(self, name: str) -> None:
        """Raise NotFound if the daemon does not have the image."""
        if await self.find(name) is None:
            raise NotFound(f"No such image: {references.parse(name).familiar()}")

    def _rewritten(self, name: str) -> str:
        return references.rewritten(name, self._options.now.rewrite)

    def _account_at(self, reference: Reference, auths: RegistryAuths) -> RegistryAuth | None:
        """Return the caller's account at the registry of an image, or else the operator's."""
        if callers := auths.of(reference.domain):
            return callers
        server = self._options.now.server
        host = server.partition("://")[2] or server
        host = host.partition("/")[0]
        if references.is_docker_hub(host):
            host = references.DOCKER_HUB
        if reference.domain != host or not (account := self._account.read()):
            return None
        return RegistryAuth(server, account.username, account.password)


def _parsed(name: str) -> Reference | None:
    try:
        return references.parse(name)
    except InvalidArgument:
        return None
