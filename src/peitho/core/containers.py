"""
All containers: one with a name is chaincode, one without a name is a build.

Only this module knows the difference; the API works with either kind.
"""

from peitho.core.builds.container import BuildContainers
from peitho.core.chaincode.containers import ChaincodeContainers
from peitho.core.container import Container, Summary
from peitho.core.images.base import BaseImages
from peitho.core.pods.tokens import Holder
from peitho.errors import InvalidArgument, NotFound, Unsupported
from peitho.formats.docker import names
from peitho.formats.kubernetes import spec_check
from peitho.formats.records import ContainerSpec


class Containers:
    """All containers of this Peitho."""

    def __init__(
        self, chaincodes: ChaincodeContainers, builds: BuildContainers, base_images: BaseImages
    ) -> None:
        self._chaincodes = chaincodes
        self._builds = builds
        self._base_images = base_images

    async def create(self, name: str, spec: ContainerSpec, *, peer: str = "") -> Container:
        """
        Create a chaincode container, or a build container if there is no name.

        `peer` is the address that the call came from.
        Raises InvalidArgument, NotFound for the image, Conflict for the name, Unavailable, and
        Unsupported for chaincode that is to be removed when it ends: its peer does that.
        """
        spec_check.check(spec)
        if not name:
            if not (spec.command or spec.entrypoint):
                raise InvalidArgument("no command specified")
            await self._base_images.require(spec.image)
            return self._builds.create(spec, peer=peer)
        if spec.auto_remove:
            raise Unsupported("HostConfig.AutoRemove is not part of what Peitho does for chaincode")
        return await self._chaincodes.create(names.valid_container_name(name), spec)

    async def get(self, reference: str) -> Container:
        """
        Return the container of that name, of that ID, or of a unique beginning of an ID.

        Raises NotFound with the text that peers match by case, Unavailable.
        """
        reference = reference.removeprefix("/")
        container = self._builds.find(reference) or await self._chaincodes.find(reference)
        if container is None:
            raise NotFound(f"No such container: {reference}")
        return container

    async def awaits_layer(self, holder: Holder) -> bool:
        """Whether a chaincode's Pod may still have to fetch its layer. Raises Unavailable."""
        return await self._chaincodes.awaits_layer(holder)

    async def list(self) -> list[Summary]:
        """List all containers, whether or not they run, the newest first."""
        summaries = [*await self._chaincodes.list(), *self._builds.list()]
        return sorted(summaries, key=lambda summary: summary.created, reverse=True)
