"""
Taking over from the Go project of the same name: its chaincode ends, and is launched anew here.

A Deployment brings its process back whenever it ends, and beside a launch of ours that is what a
peer cannot bear (DESIGN 5).  So it is scaled to nothing, and kept: whoever wants to go back scales
it up again.
"""

from peitho.clients.kubernetes.api import Kubernetes
from peitho.formats.kubernetes import go_peitho
from peitho.formats.kubernetes.go_peitho import GoChaincode


async def survey(kubernetes: Kubernetes) -> tuple[GoChaincode, ...]:
    """The Go project's chaincode in the namespace; the keys in its ConfigMaps are not read."""
    return go_peitho.find(
        await kubernetes.find("Deployment"), await kubernetes.find_metadata("ConfigMap", labels={})
    )


async def adopt(kubernetes: Kubernetes, chaincode: GoChaincode) -> None:
    """End one of them; the peer's next call launches it here.  What ran already stays noted."""
    if chaincode.replicas > 0:
        await kubernetes.patch("Deployment", chaincode.deployment, go_peitho.adoption(chaincode))
    if chaincode.config_map:
        await kubernetes.patch("ConfigMap", chaincode.config_map, go_peitho.mark())
