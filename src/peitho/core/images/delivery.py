"""Images that Peitho keeps itself: Pods fetch their layers from it."""

from collections.abc import AsyncIterator

from peitho.core.images.publisher import PublishedImage
from peitho.core.images.store import BuiltImage, ImageStore
from peitho.formats.images.image_record import Image


class DeliveryPublisher:
    """Peitho keeps the images, and Pods fetch their layers from it."""

    def __init__(self, images: ImageStore) -> None:
        self._images = images

    async def build(self, name: str, context: AsyncIterator[bytes]) -> BuiltImage:
        """Put an image together; it is reachable at once."""
        return await self._images.build(name, context)

    async def find(self, name: str) -> PublishedImage | None:
        """One of the data directory."""
        image = self._images.find(name)
        return PublishedImage(image) if image else None

    def list(self) -> list[Image]:
        """All of the data directory."""
        return self._images.list()

    async def remove(self, name: str) -> Image:
        """Drop it, and its layer if no other image has it."""
        return await self._images.remove(name)
