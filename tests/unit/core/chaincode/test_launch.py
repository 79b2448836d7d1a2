"""One launch, before a double of the API server; whole ones are in test_container.py."""

from pathlib import Path

import pytest

from peitho.core.chaincode import launch
from peitho.errors import StartFailed
from tests.support.kubernetes_double import always, refusal
from tests.support.launches import NAME, scene


async def test_what_keeps_a_pod_away_is_told(tmp_path: Path) -> None:
    """
    A quota, by the API server's answer to a dry run; no Job is left.
    """
    async with scene(tmp_path) as it:
        container = await it.create()
        it.cluster.script("POST", "pods", always(lambda: refusal(403, "Forbidden", "quota: q")))

        with pytest.raises(StartFailed, match=f"^cannot start container {NAME}: quota: q$"):
            await container.start()

        assert ["secrets"] == it.kinds()


async def test_a_cluster_that_says_nothing_is_waited_for_as_long_as_is_set(
    tmp_path: Path,
) -> None:
    """
    And no longer.
    """
    async with scene(tmp_path, startTimeoutSeconds=0.05) as it:
        container = await it.create()

        with pytest.raises(StartFailed, match=r"not started within 0\.05 s"):
            await container.start()


def test_a_failed_start_names_its_container() -> None:
    """
    Before the cluster's words.
    """
    assert "cannot start container a: why" == str(launch.failed("a", StartFailed("why")))
