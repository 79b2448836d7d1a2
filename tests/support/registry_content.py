"""Blobs and images that the double of a registry holds."""

import json

from peitho.formats.images import oci
from peitho.formats.images.oci import Descriptor
from tests.support.registry_double import RegistryDouble

CONTENT = b"layer" * 1000
NAME = "chaincode/net-peer0.org1-mycc_1"


def blob(content: bytes = CONTENT) -> Descriptor:
    """What a manifest says of a content."""
    return Descriptor(oci.OCI_LAYER, oci.digest_of(content), len(content))


BASE = b"base layer" * 100
RUNTIME = "hyperledger/fabric-baseos"


def fabric(double: RegistryDouble, *, architecture: str = "amd64", layer: bytes = BASE) -> None:
    """Put a runtime image into a registry."""
    config = json.dumps(
        {
            "architecture": architecture,
            "config": {"User": "chaincode"},
            "rootfs": {"type": "layers", "diff_ids": [oci.digest_of(layer)]},
        }
    ).encode()
    described = [
        {"mediaType": "a", "digest": double.add_blob(RUNTIME, each), "size": len(each)}
        for each in (config, layer)
    ]
    manifest = json.dumps(
        {"mediaType": oci.OCI_MANIFEST, "config": described[0], "layers": described[1:]}
    ).encode()
    for reference in ("2.5", oci.digest_of(manifest)):
        double.repository(RUNTIME).manifests[reference] = (oci.OCI_MANIFEST, manifest)
