"""
What is a tenant's own: the names that its peers give containers and images, and how many it has.

A peer calls its chaincode's container `NETWORK-PEER-PACKAGE`, with `-` in place of each character
that Docker does not take, and the image the same in lower case, with a hash behind
(dockercontroller.go, GetVMName and GetVMNameForDocker).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from peitho.errors import Forbidden
from peitho.formats import stars
from peitho.formats.records import ContainerSpec
from peitho.settings.live import Live

_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_.*-]")
_IMAGE_ID = re.compile(r"(sha256:)?[0-9a-f]{12,64}")
_LONGEST_SHOWN = 200


@dataclass(frozen=True, slots=True)
class TenantOptions:
    """
    What the operator decided about one tenant; patterns have `*`.

    Of `containers` and `stored_bytes`, 0 is no limit.
    """

    name: str
    msp_ids: tuple[str, ...] = ("*",)
    networks: tuple[str, ...] = ("*",)
    peers: tuple[str, ...] = ("*",)
    containers: int = 0
    stored_bytes: int = 0


@dataclass(frozen=True, slots=True)
class OwnNames:
    """The names that a tenant's peers may use."""

    options: Live[TenantOptions]

    def check_container(self, name: str, spec: ContainerSpec) -> None:
        """Raise Forbidden, with the field, for a container that is not to be this tenant's."""
        self._check_variables(spec.env)
        if not name:  # of a build; the operator's list says which images it may have
            return
        if not self._is_own(name):
            raise self._forbidden("name", name, "networks and peers")
        if not self.may_be_image(spec.image):
            raise self._forbidden("Image", spec.image, "networks and peers")

    def check_image(self, name: str) -> None:
        """Raise Forbidden for a name that no image of this tenant has."""
        if not self._is_own_image(name):
            raise self._forbidden("t", name, "networks and peers")

    def may_be_image(self, name: str) -> bool:
        """Whether an image of this tenant may have a name, an ID or the beginning of an ID."""
        return _IMAGE_ID.fullmatch(name) is not None or self._is_own_image(name)

    def _check_variables(self, env: Iterable[str]) -> None:
        options = self.options.now
        patterns = {
            "CORE_PEER_LOCALMSPID": ("msp-ids", options.msp_ids),
            "CORE_PEER_NETWORKID": ("networks", options.networks),
            "CORE_PEER_ID": ("peers", options.peers),
        }
        for variable in env:  # one may be there twice
            key, _, value = variable.partition("=")
            if key in patterns:
                setting, allowed = patterns[key]
                if not any(stars.matches(pattern, value) for pattern in allowed):
                    raise self._forbidden(key, value, setting)

    def _is_own_image(self, name: str) -> bool:
        # No peer's image has a slash; what has one is in another's part of a registry.
        return "/" not in name and self._is_own(name, in_lower_case=True)

    def _is_own(self, name: str, *, in_lower_case: bool = False) -> bool:
        patterns = (
            "-".join(part for part in (network, peer, "*") if part)
            for network in self.options.now.networks
            for peer in self.options.now.peers
        )
        plain = (_NOT_IN_NAMES.sub("-", pattern) for pattern in patterns)
        return any(
            stars.matches(pattern.lower() if in_lower_case else pattern, name) for pattern in plain
        )

    def _forbidden(self, field: str, value: str, setting: str) -> Forbidden:
        return Forbidden(
            f"{field}: {value[:_LONGEST_SHOWN]!r} is not this tenant's: {setting} of "
            f"access.tenants.{self.options.now.name} in Peitho's settings do not match it",
            reason="tenant",
        )
