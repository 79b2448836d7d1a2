"""What the Go Peitho leaves in a cluster."""

from typing import Any

from peitho.formats.kubernetes.objects import Manifest

NAME = "dev-peer0-org1-mycc-1-0"


def deployment(name: str = NAME, **changes: Any) -> Manifest:
    """A chaincode's, in the shape that the Go project gives it."""
    container = {
        "name": name,
        "image": "10.0.0.9:8099/chaincode/dev-peer0.org1-mycc-1.0-abcd",
        "command": ["chaincode", "-peer.address=peer0:7052"],
        "env": [
            {"name": "CORE_CHAINCODE_ID_NAME", "value": "mycc:1.0"},
            {"name": "CORE_PEER_LOCALMSPID", "value": "Org1MSP"},
            {"name": "CORE_PEER_TLS_ENABLED"},
        ],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"name": name, "labels": {"app": name}},
                "spec": {"containers": [container | changes]},
            },
        },
    }


def config_map(name: str) -> Manifest:
    """Its name is all that is looked at."""
    return {"metadata": {"name": name}}
