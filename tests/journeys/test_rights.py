"""The Role in deploy/: all that Peitho does is allowed by it, and it allows nothing else."""

from pathlib import Path

import pytest

from tests.journeys import whole_life
from tests.lab.asked import AskedApi, Right, granted
from tests.lab.cluster import Cluster
from tests.lab.pairs import DELIVERY, PODS, REGISTRY, Pair
from tests.lab.peitho import Peitho, namespace
from tests.lab.registry import Running
from tests.support.docker_calls import Calls, archive, context

MODES = (DELIVERY, REGISTRY)


@pytest.fixture(scope="module")
def used() -> set[Right]:
    """The rights that all stories have used."""
    return set()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("mode", MODES)
async def test_a_whole_life_needs_no_other_right(
    cluster: Cluster, registry: Running, tmp_path: Path, mode: str, used: set[Right]
) -> None:
    """
    Build, launch, upload, log, crash, relaunch, restart, failed start, sweep and removal.
    """
    settings = Pair(PODS, mode).settings(registry) | whole_life.SETTINGS
    async with (
        AskedApi.start(cluster) as api,
        namespace(cluster) as name,
        Peitho.start(cluster, name, tmp_path, api_server=api.url, **settings) as peitho,
    ):
        await whole_life.live(peitho)
        if mode == REGISTRY:
            await _takes_a_runtime_image_of_another(peitho, registry)
        log = peitho.log.read_text()
        used |= api.rights

    assert [] == [line for line in log.splitlines() if "forbidden" in line]
    assert set() == used - granted()


async def _takes_a_runtime_image_of_another(peitho: Peitho, registry: Running) -> None:
    """By another name the registry is not Peitho's own: pull Secrets are looked for."""
    other = registry.address.replace("127.0.0.1", "localhost")
    dockerfile = f"FROM {other}/hyperledger/fabric-baseos:2.5\nADD binpackage.tar /usr/local/bin\n"
    package = archive({"chaincode": (0o755, b"")})
    async with Calls.to(peitho) as calls:
        answer = await calls.build("of-another", context(package, dockerfile))
    assert 500 == answer.status
    assert "401" in answer.message


def test_no_right_is_left_over(used: set[Right]) -> None:
    """
    Each verb of the Role was used in a story before.
    """
    assert set() == granted() - used
