"""
Take over chaincode that the Go project of the same name runs.

The Go project runs chaincode as a Deployment, which restarts the process whenever it ends. A peer
cannot bear that beside a launch of ours (DESIGN 5). So the Deployment is scaled to 0 and kept:
whoever wants to go back scales it up again.
"""

from peitho.clients.kubernetes.api import Kubernetes
from peitho.formats.kubernetes import go_peitho
from peitho.formats.kubernetes.go_peitho import GoChaincode


async def survey(kubernetes: Kubernetes) -> tuple[GoChaincode, ...]:
    """List the Go project's chaincode in the namespace; the keys in its ConfigMaps are not read."""
    return go_peitho.find(
        await kubernetes.find("Deployment"), await kubernetes.find_metadata("ConfigMap", labels={})
    )


async def adopt(kubernetes: Kubernetes, chaincode: GoChaincode) -> None:
    """Scale one of them to 0, and note its replicas; the peer's next call launches it here."""
    if chaincode.replicas > 0:
        await kubernetes.patch("Deployment", chaincode.deployment, go_peitho.adoption(chaincode))
    if chaincode.config_map:
        await kubernetes.patch("ConfigMap", chaincode.config_map, go_peitho.mark())
