"""Peitho as it is shipped: its own image as a Deployment, by the manifests of deploy/."""

import json
from collections.abc import Mapping
from typing import Any

import yaml

from tests.lab import cluster as lab
from tests.lab.cluster import Cluster
from tests.lab.peitho import shipped

_READY = "--timeout=120s"


def deploy(
    cluster: Cluster,
    image: str,
    *,
    peitho: str,
    chaincode: str,
    settings: Mapping[str, Any] | None = None,
) -> str:
    """Peitho in two namespaces, ready, with more settings; the address of its Service."""
    objects = {
        each["kind"]: each for each in shipped("peitho.yaml", peitho=peitho, chaincode=chaincode)
    }
    if cluster.own:  # which has no provisioner, and no DNS
        cluster.apply(lab.volume("peitho", peitho))
        objects["PersistentVolumeClaim"]["spec"]["storageClassName"] = ""
    cluster.apply(objects.pop("Namespace"), objects.pop("Service"))
    cluster.apply(*shipped("chaincode.yaml", peitho=peitho, chaincode=chaincode))
    asked = ("get", "service", "peitho", "-o", "jsonpath={.spec.clusterIP}")
    address = cluster.run_kubectl("-n", peitho, *asked)
    tree = yaml.safe_load(objects["ConfigMap"]["data"]["peitho.yml"])
    tree["k8s"]["namespace"] = chaincode
    tree["peitho"] |= {"pullerAccessAddress": f"{address}:8081", "pullerImage": image}
    objects["ConfigMap"]["data"]["peitho.yml"] = json.dumps(tree | dict(settings or {}))
    (container,) = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
    container["image"] = image
    cluster.apply(*objects.values())
    cluster.run_kubectl("-n", peitho, "rollout", "status", "deployment/peitho", _READY)
    return address


def await_answer(address: str) -> None:
    """
    Return once Peitho answers at the address of its Service, asked from the node.

    A ready Pod is not enough: kube-proxy learns of it later, and refuses connections until then.
    """
    lab.until(f"Peitho at {address}", lambda: lab.answers(f"http://{address}:8080/_ping"))


def discard(cluster: Cluster, *, peitho: str, chaincode: str) -> None:
    """Drop both namespaces, and what the volume holds."""
    gone = ("--ignore-not-found", "--timeout=60s")
    cluster.run_kubectl("delete", "namespace", peitho, chaincode, *gone)
    if cluster.own:
        cluster.run_kubectl("delete", "persistentvolume", f"{peitho}-peitho", "--ignore-not-found")
        lab.discard_volume("peitho", peitho)
