"""Chaincode in the cluster's double, for the commands of operators."""

import asyncio
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from peitho import cli
from peitho.formats.kubernetes import labels, record_secrets
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.records import CHAINCODE, ContainerSpec, Exit
from tests.support import typed
from tests.support.kubernetes_double import ApiServer

AT = "2026-01-02T03:04:05Z"
PACKAGE = "mycc_1.0"
RUNNING = {"running": {"startedAt": AT}}
ENDED = {"terminated": {"exitCode": 3, "reason": "OOMKilled", "startedAt": AT, "finishedAt": AT}}
PULLING = {"waiting": {"reason": "ErrImagePull", "message": "not found"}}


def add(  # noqa: PLR0913  what a chaincode may be
    cluster: ApiServer,
    name: str,
    container_id: str,
    *,
    state: Manifest | None = None,
    end: Exit | None = None,
    instance: str = "peitho",
) -> Manifest:
    """Add a chaincode: its Secret, and with a state its Job and Pod; the Secret."""
    spec = ContainerSpec(
        image=f"image-{name}",
        command=("chaincode", "-peer.address=peer0.org1:7052"),
        entrypoint=(),
        env=(f"CORE_CHAINCODE_ID_NAME={PACKAGE}", "CORE_PEER_LOCALMSPID=Org1MSP"),
    )
    secret = record_secrets.chaincode_secret(
        instance=instance, container_id=container_id, name=name, spec=spec, token="", created=AT
    )
    if end:
        note = record_secrets.exit_note(end, finished_at=AT)
        secret["metadata"]["annotations"][labels.EXIT] = note
    cluster.make(f"secrets/{secret['metadata']['name']}", secret)
    cluster.version += 1
    if state:
        job = typed.job_name(secret)
        own = labels.container_labels(instance, CHAINCODE, container_id)
        cluster.make(f"jobs/{job}", {"metadata": {"name": job, "labels": own}})
        pod: dict[str, Any] = {
            "metadata": {
                "name": f"{job}-abcde",
                "labels": own,
                "annotations": {labels.ID: container_id, labels.NAME: name},
                "ownerReferences": [typed.owner(secret)],
            },
            "spec": {"nodeName": "node-1"},
            "status": {"containerStatuses": [{"name": CHAINCODE, "image": "i", "state": state}]},
        }
        cluster.make(f"pods/{job}-abcde", pod)
    return secret


async def operate(cluster: ApiServer, tmp_path: Path, *words: str, answer: str = "") -> Result:
    """Run a command at the double, as an operator of a laptop does."""
    kubeconfig = str(cluster.kubeconfig(tmp_path))
    command, *rest = words
    return await asyncio.to_thread(run, command, "--kubeconfig", kubeconfig, *rest, answer=answer)


def run(*words: str, answer: str = "", **variables: str) -> Result:
    """Run a command, in an environment with nothing of ours but this."""
    cleared = {"PEITHO_CONFIG": None, "KUBECONFIG": None} | variables
    return CliRunner().invoke(cli.main, words, env=cleared, input=answer)
