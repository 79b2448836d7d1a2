"""A tenant's publisher: it makes and shows images with the tenant's own names alone."""

from collections.abc import AsyncIterator, Sequence

from peitho.core.images.publisher import PublishedImage, Publisher
from peitho.core.images.store import BuiltImage, tagged
from peitho.core.tenant import OwnNames
from peitho.errors import NotFound
from peitho.formats.docker.registry_auth import NOBODY, RegistryAuths
from peitho.formats.images.image_record import Image


class OwnPublisher:
    """
    Publishes what has a name of the tenant's; any other image is not there.

    A registry may have images of several tenants, each below a path of its own: the names say that
    nobody asks for another's path.
    """

    def __init__(self, publisher: Publisher, names: OwnNames) -> None:
        self._publisher = publisher
        self._names = names

    async def build(
        self, name: str, context: AsyncIterator[bytes], auths: RegistryAuths = NOBODY
    ) -> BuiltImage:
        """Put an image together. Raises Forbidden for a name that is not the tenant's."""
        self._names.check_image(name)
        return await self._publisher.build(name, context, auths)

    async def find(self, name: str) -> PublishedImage | None:
        """Return the image of that name, ID or beginning of an ID, or None."""
        return await self._publisher.find(name) if self._names.may_be_image(name) else None

    async def list(self) -> Sequence[Image]:
        """List the images that are known without asking anybody."""
        return await self._publisher.list()

    async def remove(self, name: str) -> Image:
        """Remove an image. Raises NotFound."""
        if not self._names.may_be_image(name):
            raise NotFound(f"No such image: {tagged(name)}")
        return await self._publisher.remove(name)
