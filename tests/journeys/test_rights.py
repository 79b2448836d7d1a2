"""The Role in deploy/: all that Peitho does is allowed by it, and it allows nothing else."""

from pathlib import Path

import pytest

from tests.journeys import whole_life
from tests.lab.asked import AskedApi, Right, granted
from tests.lab.cluster import Cluster
from tests.lab.pairs import DELIVERY, PODS, REGISTRY, Pair
from tests.lab.peitho import Peitho, namespace
from tests.lab.registry import Running

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
        log = peitho.log.read_text()
        used |= api.rights

    assert [] == [line for line in log.splitlines() if "forbidden" in line]
    assert set() == used - granted()


def test_no_right_is_left_over(used: set[Right]) -> None:
    """
    Each verb of the Role was used in a story before.
    """
    assert set() == granted() - used
