"""What the stories share."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.lab import images, pairs, pki
from tests.lab import registry as lab
from tests.lab.cluster import Cluster
from tests.lab.daemon import Daemon, running
from tests.lab.peitho import Peitho
from tests.lab.registry import Running
from tests.support.docker_calls import Calls

pytestmark = pytest.mark.usefixtures("peitho_log")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def calls(peitho: Peitho) -> AsyncIterator[Calls]:
    """The Docker API of the file's Peitho, called by hand."""
    async with Calls.to(peitho) as made:
        yield made


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that has the stand-ins of Fabric's images, on a socket and over TLS."""
    folder = tmp_path_factory.mktemp("pki")
    pki.certificates(folder, host="127.0.0.1", node="daemon")
    with running(Daemon("builder", pki=folder)) as found:
        found.clear()
        images.ensure_in(found)
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def registry(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Running]:
    """A registry that wants a password, on the node's loopback, where containerd speaks HTTP."""
    del cluster  # its images, which are mirrored, are made by then
    with lab.registry(tmp_path_factory.mktemp("registry"), password=True) as running:
        await pairs.mirror(running)
        yield running
