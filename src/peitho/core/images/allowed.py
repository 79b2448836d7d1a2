"""Which builder and runtime images a caller may name."""

from dataclasses import dataclass

from peitho.core.images.base import BaseImage, BaseImages
from peitho.errors import Forbidden, InvalidArgument
from peitho.formats.docker.registry_auth import NOBODY, RegistryAuths
from peitho.formats.images import references
from peitho.formats.images.references import Reference
from peitho.formats.images.repositories import PublishedImages
from peitho.settings.live import Live


@dataclass(frozen=True, slots=True)
class AllowedImages:
    """
    Patterns of images, as `images.rewrite` has them on the left.

    `published` says where tenants have their chaincode images, which are nobody's builder: nodes
    would pull another's for a build, with Peitho's own account. None where there are no tenants.
    Where there are, what one may not name `hides`: a daemon may have it for another.
    """

    patterns: Live[tuple[str, ...]]
    published: Live[PublishedImages | None] | None = None
    hides: bool = False

    def allows(self, reference: Reference) -> bool:
        """Whether a caller may name an image."""
        published = self.published.now if self.published else None
        if published and published.has(reference):
            return False
        return any(references.matches(pattern, reference) for pattern in self.patterns.now)

    def check(self, name: str) -> None:
        """Raise Forbidden for an image that no pattern matches, InvalidArgument for no name."""
        if not self.allows(references.parse(name)):
            raise Forbidden(
                f"the image {name[:200]!r} may not be used here: none of the operator's patterns "
                "matches it (access.images of Peitho's settings)",
                reason="image",
            )


class AllowedBaseImages:
    """Builder and runtime images, of which a caller gets those alone that it may name."""

    def __init__(self, images: BaseImages, allowed: AllowedImages) -> None:
        self._images = images
        self._allowed = allowed

    async def pull(self, name: str, auths: RegistryAuths = NOBODY) -> str:
        """Pull an image. Raises Forbidden, and the errors of the pull."""
        self._allowed.check(name)
        return await self._images.pull(name, auths)

    async def find(self, name: str) -> BaseImage | None:
        """Return the image of that name or ID, or None."""
        if self._allowed.hides and not self._is_allowed(name):
            return None
        return await self._images.find(name)

    async def require(self, name: str) -> None:
        """Raise Forbidden for an image that may not be used, NotFound for one to be pulled."""
        self._allowed.check(name)
        await self._images.require(name)

    def _is_allowed(self, name: str) -> bool:
        try:
            return self._allowed.allows(references.parse(name))
        except InvalidArgument:
            return False
