"""How a built image gets to the cluster's nodes: from Peitho itself, or from a registry."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from peitho.core.images.store import BuiltImage, tagged
from peitho.errors import NotFound
from peitho.formats.images.image_record import Image


@dataclass(frozen=True, slots=True)
class PublishedImage:
    """An image, and the reference by which nodes pull it; empty where Peitho delivers it."""

    image: Image
    reference: str = ""


class Publisher(Protocol):
    """Makes built images reachable by the cluster's nodes, and knows which are."""

    async def build(self, name: str, context: AsyncIterator[bytes]) -> BuiltImage:
        """Put an image together from a build context; it is published when this returns."""
        ...

    async def find(self, name: str) -> PublishedImage | None:
        """The image of that name, with or without its tag, or of that ID or its beginning."""
        ...

    def list(self) -> list[Image]:
        """All that are known without asking anybody."""
        ...

    async def remove(self, name: str) -> Image:
        """Withdraw an image.  Raises NotFound."""
        ...


async def get(publisher: Publisher, name: str) -> PublishedImage:
    """
    The image of that name or ID.

    Raises NotFound with the text that peers match by case.
    """
    published = await publisher.find(name)
    if published is None:
        raise NotFound(f"No such image: {tagged(name)}")
    return published
