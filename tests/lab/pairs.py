"""The four ways to run Peitho: builds in Pods or in a daemon, images delivered or in a registry."""

from dataclasses import dataclass
from typing import Any

from peitho.clients.registry.api import Registry
from tests.lab import images
from tests.lab import registry as lab
from tests.lab.registry import ACCOUNT, Running

PODS, DAEMON = "Pods", "daemon"
DELIVERY, REGISTRY = "delivery", "registry"

_FABRIC = "hyperledger/fabric-"


@dataclass(frozen=True, slots=True)
class Pair:
    """Where builds run, and how nodes get an image."""

    builder: str
    mode: str

    def __str__(self) -> str:
        return f"{self.builder} x {self.mode}"

    def settings(self, registry: Running, *, endpoint: str = "") -> dict[str, Any]:
        """Peitho's; the registry got its runtime images by `mirror`, `endpoint` is a daemon's."""
        docker: dict[str, Any] = {}
        found: dict[str, Any] = {"docker": docker}
        if self.builder == DAEMON:
            docker["endpoint"] = endpoint
        if self.mode == REGISTRY:
            docker["registry"] = {
                "server-address": registry.address,
                "project": "chaincode",
                "username": ACCOUNT.username,
                "password": ACCOUNT.password,
                "insecure": True,
            }
            found["peitho"] = {"imageMode": "registry"}
            found["images"] = {"rewrite": rewrite(registry, "baseos")}
        return found


def rewrite(registry: Running, *names: str) -> dict[str, str]:
    """`images.rewrite` for images of Fabric that are mirrored."""
    return {f"{_FABRIC}{name}*": f"{registry.address}/{_FABRIC}{name}*" for name in names}


PAIRS = tuple(Pair(builder, mode) for mode in (DELIVERY, REGISTRY) for builder in (PODS, DAEMON))


async def mirror(registry: Running, name: str = "baseos") -> None:
    """Have the runtime images of Go, or others, in a registry, under each tag that peers name."""
    image = images.find(f"docker.io/{_FABRIC}{name}:2.5")
    async with Registry.connect(registry.endpoint, lambda: ACCOUNT) as client:
        for tagged in image.tags:
            repository, _, tag = tagged.removeprefix("docker.io/").rpartition(":")
            await lab.push(client, image, repository, tag)
