from pathlib import Path

import pytest

from peitho.clients.kubernetes.api import Listing
from peitho.clients.kubernetes.pod_watch import PodWatch
from peitho.core.chaincode.seen import Chaincode
from peitho.formats.kubernetes import pod_status, record_secrets
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.kubernetes.pod_status import PodStatus
from peitho.formats.records import Exit
from tests.support import operated
from tests.support.kubernetes_double import ApiServer


@pytest.mark.parametrize(
    ("state", "end", "phase", "reason"),
    [
        (None, None, "created", ""),
        (operated.RUNNING, None, "running", ""),
        (operated.PULLING, None, "starting", "not found"),
        (operated.ENDED, None, "exited", "OOMKilled"),
        (None, Exit(3, "Evicted", operated.AT, "last"), "exited", "Evicted"),
    ],
)
async def test_record_and_pod_tell_together(
    tmp_path: Path, state: Manifest | None, end: Exit | None, phase: str, reason: str
) -> None:
    """
    What a chaincode is at, and why.
    """
    async with ApiServer.start() as cluster, cluster.client(tmp_path) as kubernetes:
        secret = operated.add(cluster, "dev-peer0-mycc-1.0", "a" * 64, state=state, end=end)
        watch = PodWatch(kubernetes, labels={})
        pods = [each for path, each in cluster.objects.items() if path.startswith("pods/")]
        seen: list[PodStatus | None] = [
            pod for pod in map(pod_status.read, pods) if isinstance(pod, PodStatus)
        ]
        await watch.replace(Listing(seen, "1"))

        chaincode = Chaincode.of(record_secrets.read_metadata(secret), watch)

    assert phase == chaincode.phase
    assert reason in chaincode.reason
    assert operated.PACKAGE == chaincode.row()["package"]


async def test_a_damaged_record_has_a_phase_of_its_own(tmp_path: Path) -> None:
    """
    And the cause.
    """
    async with ApiServer.start() as cluster, cluster.client(tmp_path) as kubernetes:
        record = record_secrets.read_metadata({"metadata": {"name": "s", "uid": "u"}})
        chaincode = Chaincode.of(record, PodWatch(kubernetes, labels={}))

    assert ("s", "u", "damaged") == (chaincode.name, chaincode.id, chaincode.phase)
    assert "annotations" in chaincode.reason
