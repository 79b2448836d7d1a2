"""Delivery: Peitho keeps the images, and Pods fetch their layers from it."""

from collections.abc import AsyncIterator, Sequence

from peitho.core.images.publisher import PublishedImage
from peitho.core.images.store import BuiltImage, ImageStore
from peitho.formats.images.image_record import Image


class DeliveryPublisher:
    """Publishes images from the data directory."""

    def __init__(self, images: ImageStore) -> None:
        self._images = images

    async def build(self, name: str, context: AsyncIterator[bytes]) -> BuiltImage:
        """Put an image together; Pods can fetch it at once."""
        return await self._images.build(name, context)

    async def find(self, name: str) -> PublishedImage | None:
        """Return an image of the data directory, or None, also where its layer is damaged."""
        image = await self._images.find_whole(name)
        return PublishedImage(image) if image else None

    async def list(self) -> Sequence[Image]:
        """List the images of the data directory whose layer is there."""
        return await self._images.listed_whole()

    async def remove(self, name: str) -> Image:
        """Remove an image, and its layer if no other image has it."""
        return await self._images.remove(name)
