"""Builder and runtime images: who pulls them, and what is known of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import structlog

from peitho.clients.docker import Docker
from peitho.clients.registry.registries import RegistryAccount
from peitho.errors import InvalidArgument, NotFound
from peitho.formats.bounded_dict import BoundedDict
from peitho.formats.docker import daemon
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

    async def pull(self, name: str) -> str:
        """
        Pull an image, or note that it will be pulled; return a line that says which.

        Raises InvalidArgument if the name is no reference, and the errors of the pull.
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

    async def pull(self, name: str) -> str:
        """Remember the name; only the latest names are kept."""
        reference = references.parse(name).familiar()
        self._asked[reference] = None
        return f"{reference} is pulled by the node that first needs it"

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

    async def pull(self, name: str) -> str:
        """Return once the daemon has the image; the account is shown to its own registry alone."""
        asked = references.parse(name).familiar()
        reference = references.parse(self._rewritten(name))
        await self._docker.pull(
            f"{reference.domain}/{reference.repository}",
            reference.digest or reference.tag or "latest",
            auth=self._auth_for(reference),
        )
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

    def _auth_for(self, reference: Reference) -> str:
        """Return the value of `X-Registry-Auth` for a pull; empty for any registry but our own."""
        server = self._options.now.server
        host = server.partition("://")[2] or server
        host = host.partition("/")[0]
        if references.is_docker_hub(host):
            host = references.DOCKER_HUB
        if reference.domain != host or not (account := self._account.read()):
            return ""
        return daemon.registry_auth(
            username=account.username, password=account.password, address=server
        )


def _parsed(name: str) -> Reference | None:
    try:
        return references.parse(name)
    except InvalidArgument:
        return None
