"""What the callers share."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.conformance.launched import Launched
from tests.lab.cluster import Cluster
from tests.lab.peitho import Peitho


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tiny(peitho: Peitho, cluster: Cluster) -> AsyncIterator[Launched]:
    """A package, installed once for the file."""
    async with Launched.by(peitho, cluster) as launched:
        yield launched
