"""How a built image gets to the cluster's nodes: from Peitho itself, or from a registry."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from peitho.core.images import Built, Images, tagged
from peitho.errors import NotFound
from peitho.formats.images import Image


@dataclass(frozen=True, slots=True)
class Published:
    """An image, and the reference by which nodes pull it; empty where Peitho delivers it."""

    image: Image
    reference: str = ""


class Publisher(Protocol):
    """Makes built images reachable by the cluster's nodes, and knows which are."""

    async def build(self, name: str, context: AsyncIterator[bytes]) -> Built:
        """Put an image together from a build context; it is published when this returns."""
        ...

    async def find(self, name: str) -> Published | None:
        """The image of that name, with or without its tag, or of that ID or its beginning."""
        ...

    def list(self) -> list[Image]:
        """All that are known without asking anybody."""
        ...

    async def remove(self, name: str) -> Image:
        """Withdraw an image.  Raises NotFound."""
        ...


class Delivery:
    """Peitho keeps the images, and Pods fetch their layers from it."""

    def __init__(self, images: Images) -> None:
        self._images = images

    async def build(self, name: str, context: AsyncIterator[bytes]) -> Built:
        """Put an image together; it is reachable at once."""
        return await self._images.build(name, context)

    async def find(self, name: str) -> Published | None:
        """One of the data directory."""
        image = self._images.find(name)
        return Published(image) if image else None

    def list(self) -> list[Image]:
        """All of the data directory."""
        return self._images.list()

    async def remove(self, name: str) -> Image:
        """Drop it, and its layer if no other image has it."""
        return await self._images.remove(name)


async def get(publisher: Publisher, name: str) -> Published:
    """
    The image of that name or ID.

    Raises NotFound with the text that peers match by case.
    """
    found = await publisher.find(name)
    if found is None:
        raise NotFound(f"No such image: {tagged(name)}")
    return found
