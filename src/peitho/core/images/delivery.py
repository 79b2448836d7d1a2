"""Delivery: Peitho keeps the images, and Pods fetch their layers from it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace

from peitho.core.images.publisher import PublishedImage
from peitho.core.images.store import BuiltImage, ImageStore
from peitho.errors import PeithoError
from peitho.formats.docker.registry_auth import NOBODY, RegistryAuths
from peitho.formats.images.image_record import Image


class DeliveryPublisher:
    """
    Publishes images from the data directory.

    `try_runtime` returns the ID of the runtime image of one, if its node says it, and raises
    PeithoError if nodes cannot have it.
    """

    def __init__(
        self, images: ImageStore, *, try_runtime: Callable[[Image], Awaitable[str | None]]
    ) -> None:
        self._images = images
        self._try_runtime = try_runtime

    async def build(
        self, name: str, context: AsyncIterator[bytes], auths: RegistryAuths = NOBODY
    ) -> BuiltImage:
        """
        Put an image together; Pods can fetch it at once.

        An image that no node could run is none: its peer is told why, and may build it again. The
        caller's accounts are not used: they would not be there for the nodes at a launch.
        """
        del auths
        built = await self._images.build(name, context)
        try:
            runtime_id = await self._try_runtime(built.image)
        except PeithoError:
            await self._images.forget(built.image)
            raise
        if not runtime_id:
            return built
        return replace(built, image=await self._images.note_runtime(built.image, runtime_id))

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
