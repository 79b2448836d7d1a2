"""Chaincode that the Go project of the same name has left running in a namespace."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.lab.cluster import Cluster
from tests.lab.peitho import PROJECT, namespace
from tests.support.go_peitho import NAME, deployment
from tests.support.observe import until

SCRIPT = "trap exit TERM; while true; do sleep 0.1; done"
RUNS: dict[str, Any] = {
    "image": "hyperledger/fabric-baseos:2.5",
    "command": ["/bin/sh", "-c", SCRIPT],
}


def peitho(kubeconfig: Path, name: str, *words: str) -> str:
    """What `peitho adopt WORDS` says."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "peitho", "adopt", *words),
            *("--k8s.kubeconfig", str(kubeconfig), "--k8s.namespace", name),
        ],
        env={"PYTHONPATH": str(PROJECT / "src")},
        check=True,
        capture_output=True,
        text=True,
    ).stdout


async def test_chaincode_of_the_go_project_makes_way(cluster: Cluster) -> None:
    """
    It is shown first, then ended, and kept; a peer beside it is left alone.
    """
    async with namespace(cluster, level="privileged") as name:

        def objects(kind: str) -> dict[str, int]:
            found = json.loads(cluster.run_kubectl("-n", name, "get", kind, "-o", "json"))["items"]
            return {each["metadata"]["name"]: each["spec"].get("replicas", 0) for each in found}

        peer = deployment("peer0", env=[], **RUNS)
        for each in (deployment(**RUNS), peer):
            cluster.apply(each | {"metadata": each["metadata"] | {"namespace": name}})
        await until(lambda: 2 == len(objects("pods")))

        shown = await asyncio.to_thread(peitho, cluster.kubeconfig, name, "--dry-run")
        assert {NAME: 1, "peer0": 1} == objects("deployments")
        said = await asyncio.to_thread(peitho, cluster.kubeconfig, name, "--yes")

        assert f"Deployment {NAME}: mycc:1.0 of Org1MSP, image {RUNS['image']}" in shown
        assert "would be scaled to 0\n1 found\n" in shown
        assert "is scaled to 0\n1 found\n" in said
        assert {NAME: 0, "peer0": 1} == objects("deployments")
        await until(lambda: ["peer0"] == [pod[:5] for pod in objects("pods")], seconds=60)
