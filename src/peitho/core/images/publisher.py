"""Publishing: how the cluster's nodes get a chaincode image."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from peitho.core.images.store import BuiltImage, tagged
from peitho.errors import NotFound
from peitho.formats.docker.registry_auth import NOBODY, RegistryAuths
from peitho.formats.images.image_record import Image


@dataclass(frozen=True, slots=True)
class PublishedImage:
    """An image, and the reference by which nodes pull it; empty if Peitho delivers it."""

    image: Image
    reference: str = ""


class Publisher(Protocol):
    """Makes chaincode images available to the cluster's nodes."""

    async def build(
        self, name: str, context: AsyncIterator[bytes], auths: RegistryAuths = NOBODY
    ) -> BuiltImage:
        """
        Put an image together from a build context, and publish it.

        `auths` are the caller's own accounts, for this build alone.
        """
        ...

    async def find(self, name: str) -> PublishedImage | None:
        """Return the image of that name, ID or beginning of an ID, or None."""
        ...

    async def list(self) -> Sequence[Image]:
        """List the images that are known without asking anybody."""
        ...

    async def remove(self, name: str) -> Image:
        """Remove an image. Raises NotFound."""
        ...


async def get(publisher: Publisher, name: str) -> PublishedImage:
    """
    Return the image of that name or ID.

    Raises NotFound with the text that peers match by case.
    """
    published = await publisher.find(name)
    if published is None:
        raise NotFound(f"No such image: {tagged(name)}")
    return published
