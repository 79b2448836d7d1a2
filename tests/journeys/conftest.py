"""What the stories share."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.journeys.calls import Calls
from tests.lab.peitho import Peitho

pytestmark = pytest.mark.usefixtures("peitho_log")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def calls(peitho: Peitho) -> AsyncIterator[Calls]:
    """The Docker API of the file's Peitho, called by hand."""
    async with Calls.to(peitho) as made:
        yield made
