"""
Chaincode as the Go project of the same name runs it: a Deployment, and a ConfigMap with its keys.

It gives them no label but `app`, which is the Deployment's own name, as is its only container's
(pkg/k8s/service.go there).  The name is the Docker name with dashes for dots, or a hash of it: the
Docker name cannot be told from it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from peitho.formats.kubernetes.objects import Manifest

ADOPTED = "peitho/adopted"
_REPLICAS = "peitho/adopted-replicas"
_CHAINCODE = "CORE_CHAINCODE_ID_NAME"


@dataclass(frozen=True, slots=True)
class GoChaincode:
    """One chaincode of the Go project; `config_map` is empty where the peer has no TLS."""

    deployment: str
    config_map: str
    chaincode: str
    msp_id: str
    image: str
    replicas: int

    def __str__(self) -> str:
        keys = f", keys in ConfigMap {self.config_map}" if self.config_map else ""
        owner = f" of {self.msp_id}" if self.msp_id else ""
        return (
            f"Deployment {self.deployment}: {self.chaincode}{owner}, image {self.image}, "
            f"replicas {self.replicas}{keys}"
        )


def find(
    deployments: Sequence[Manifest], config_maps: Sequence[Manifest]
) -> tuple[GoChaincode, ...]:
    """Find chaincodes among the Deployments of a namespace; of ConfigMaps only names are read."""
    names = {config_map["metadata"]["name"] for config_map in config_maps}
    return tuple(
        _read(deployment, names) for deployment in deployments if _is_chaincode(deployment)
    )


def adoption(chaincode: GoChaincode) -> Manifest:
    """Return the change that ends a Deployment's process, and notes its replicas."""
    return {
        "metadata": {
            "labels": {ADOPTED: "true"},
            "annotations": {_REPLICAS: str(chaincode.replicas)},
        },
        "spec": {"replicas": 0},
    }


def mark() -> Manifest:
    """Return the change that marks the ConfigMap as adopted."""
    return {"metadata": {"labels": {ADOPTED: "true"}}}


def _is_chaincode(deployment: Manifest) -> bool:
    metadata, spec = deployment["metadata"], deployment["spec"]
    containers = spec["template"]["spec"]["containers"]
    return (
        spec["selector"].get("matchLabels") == {"app": metadata["name"]}
        and [metadata["name"]] == [container["name"] for container in containers]
        and _CHAINCODE in _env(containers[0])
    )


def _read(deployment: Manifest, config_maps: set[str]) -> GoChaincode:
    name = deployment["metadata"]["name"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    env = _env(container)
    keys = f"{name}-configmap"
    return GoChaincode(
        deployment=name,
        config_map=keys if keys in config_maps else "",
        chaincode=env[_CHAINCODE],
        msp_id=env.get("CORE_PEER_LOCALMSPID", ""),
        image=container["image"],
        replicas=deployment["spec"].get("replicas", 1),
    )


def _env(container: Mapping[str, Any]) -> dict[str, str]:
    return {variable["name"]: variable.get("value", "") for variable in container.get("env") or []}
