"""
All containers: one with a name is chaincode, one without a name is a build.

Only this module knows the difference; the API works with either kind.
"""

from peitho.core.builds.container import BuildContainers
from peitho.core.chaincode.containers import ChaincodeContainers
from peitho.core.container import Container, Summary
from peitho.core.images.base import BaseImages
from peitho.core.pods.tokens import Holder
from peitho.core.tenant import OwnNames
from peitho.errors import InvalidArgument, LimitReached, NotFound, Unsupported
from peitho.formats.docker import names
from peitho.formats.kubernetes import spec_check
from peitho.formats.records import ContainerSpec


class Containers:
    """All containers of this Peitho."""

    def __init__(
        self,
        chaincodes: ChaincodeContainers,
        builds: BuildContainers,
        base_images: BaseImages,
        own: OwnNames | None = None,
    ) -> None:
        self._chaincodes = chaincodes
        self._builds = builds
        self._base_images = base_images
        self._own = own
        self._coming = 0

    async def create(self, name: str, spec: ContainerSpec, *, peer: str = "") -> Container:
        """
        Create a chaincode container, or a build container if there is no name.

        `peer` is the address that the call came from.
        Raises InvalidArgument, NotFound for the image, Conflict for the name, Unavailable, and
        Unsupported for chaincode that is to be removed when it ends: its peer does that. Also
        Forbidden for what is not this tenant's, and LimitReached if it has enough.
        """
        spec_check.check(spec)
        name = names.valid_container_name(name) if name else ""
        if self._own is None:
            return await self._create(name, spec, peer)
        self._own.check_container(name, spec)
        self._coming += 1
        try:
            await self._check_limit(self._own.options.now.containers)
            return await self._create(name, spec, peer)
        finally:
            self._coming -= 1

    async def _check_limit(self, limit: int) -> None:
        """Raise LimitReached if there would be more, with those that are being created now."""
        if not limit:
            return
        there = len(await self._chaincodes.records()) + len(self._builds.list())
        if there + self._coming > limit:
            raise LimitReached(
                f"this tenant has {there} containers, and may have {limit} (limits.containers of "
                "access.tenants in Peitho's settings): remove some that are not needed any more "
                "(docker rm), or have the operator raise the limit"
            )

    async def _create(self, name: str, spec: ContainerSpec, peer: str) -> Container:
        if not name:
            if not (spec.command or spec.entrypoint):
                raise InvalidArgument("no command specified")
            await self._base_images.require(spec.image)
            return self._builds.create(spec, peer=peer)
        if spec.auto_remove:
            raise Unsupported("HostConfig.AutoRemove is not part of what Peitho does for chaincode")
        return await self._chaincodes.create(name, spec)

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
