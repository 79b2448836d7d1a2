"""What the operator decided about one kind of Pod, a build's or a chaincode's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from peitho.formats.images import references
from peitho.formats.kubernetes import templates
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.kubernetes.templates import TemplateOverride


@dataclass(frozen=True, slots=True)
class PodOptions:
    """What the operator decided about one kind of Pod; `None` of a user leaves it to the image."""

    instance: str
    peitho_image: str
    peitho_url: str
    user: int | None
    users: Mapping[str, int | None]
    requests: Mapping[str, str]
    limits: Mapping[str, str]
    host_aliases: Sequence[str] = ()
    rewrite: Mapping[str, str] = field(default_factory=dict)
    template: Mapping[str, Any] = field(default_factory=dict)
    overrides: Sequence[TemplateOverride] = ()
    pull_secrets: Sequence[str] = ()
    puller_beside: bool = False

    def user_for(self, image: str) -> int | None:
        """The numeric user for an image: the first pattern that matches, else the default."""
        for pattern, user in self.users.items():
            if fnmatchcase(image, pattern):
                return user
        return self.user

    def pulled(self, image: str) -> str:
        """The image that nodes pull for the one that a peer named."""
        return references.rewritten(image, self.rewrite)

    def with_templates(self, made: Manifest, env: Sequence[str] = ()) -> Manifest:
        """
        A Pod or Pod template with the operator's templates, for a container with these variables.

        Raises TemplateRefused for one that would change what Peitho relies on.
        """
        matching = [override.template for override in self.overrides if override.matches(env)]
        given = [self.template, *matching]
        return templates.applied(made, given) if any(given) else made
