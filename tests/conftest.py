"""What the tests share: one cluster for all, one Peitho for each file, certificates made once."""

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.lab import cluster as lab
from tests.lab import images, peer, pki
from tests.lab.cluster import Cluster
from tests.lab.peitho import Peitho, namespace

pytest_plugins = ["tests.lab.beside", "tests.lab.all_cores"]


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A running Kubernetes with Peitho's image and the stand-ins of Fabric's on its node."""
    with lab.shared(_prepare) as found:
        yield found


def _prepare() -> None:
    images.ensure()
    images.ensure_peitho()
    peer.build_peers()  # here, since no test has the time for it


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def peitho(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Peitho]:
    """
    A Peitho whose Pods come to a new namespace with `enforce=restricted`.

    It answers `start` as soon as the process runs, as dockerd does; `test_lifecycle.py` has one
    that watches for a moment more, as is the default.
    """
    folder: Path = tmp_path_factory.mktemp("peitho")
    async with (
        namespace(cluster) as name,
        Peitho.start(cluster, name, folder, chaincode={"settleSeconds": 0}) as running,
    ):
        yield running


@pytest.fixture
def peitho_log(peitho: Peitho) -> Iterator[None]:
    """Show what Peitho logged while a test ran, if the test fails."""
    begin = peitho.log.stat().st_size
    yield
    with peitho.log.open() as log:
        log.seek(begin)
        print(log.read())


@pytest.fixture(scope="session")
def _authorities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    for name in ("ours", "others"):
        pki.certificates(folder / name, host="127.0.0.1", node="node")
    return folder


@pytest.fixture
def certificates(_authorities: Path, tmp_path: Path) -> Path:
    """The test's own certificates of two authorities, below `ours` and `others`."""
    return shutil.copytree(_authorities, tmp_path / "pki")
