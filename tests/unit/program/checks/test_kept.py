import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from peitho.core.tasks import BackgroundTasks
from peitho.program.checks import all as checks
from peitho.program.checks.kept import KeptChecks
from peitho.settings.live import Live
from peitho.settings.models import Settings
from tests.support.kubernetes_double import ApiServer


async def test_they_are_made_once_however_many_look(tmp_path: Path) -> None:
    """
    Nobody waits for them, and no Pod is made.
    """
    settings = Settings.model_validate({"dataDir": tmp_path})
    async with (
        ApiServer.start() as cluster,
        cluster.client(tmp_path) as kubernetes,
        asyncio.TaskGroup() as group,
    ):
        kept = KeptChecks(Live(settings), kubernetes, BackgroundTasks(group))
        assert ((), True) == (kept.look().found, kept.look().is_running)
        for _ in range(1000):
            if not kept.look().is_running:
                break
            await asyncio.sleep(0.01)
        checked = kept.look()
        asked = len(cluster.requests)
        assert checked == kept.look()

    assert asked == len(cluster.requests)
    assert {"storage", "API versions"} <= {each.name for each in checked.found}
    made = [query for method, kind, query, _ in cluster.requests if kind == "pods"]
    assert all(query.get("dryRun") for query in made)


async def test_those_that_fail_are_not_made_at_each_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It is told that they failed, until they are due again.
    """
    runs: list[None] = []

    async def with_little(*_: object) -> AsyncIterator[object]:
        runs.append(None)
        raise RuntimeError("unforeseen")
        yield

    monkeypatch.setattr(checks, "with_little", with_little)
    settings = Settings.model_validate({"dataDir": tmp_path})
    async with (
        ApiServer.start() as cluster,
        cluster.client(tmp_path) as kubernetes,
        asyncio.TaskGroup() as group,
    ):
        kept = KeptChecks(Live(settings), kubernetes, BackgroundTasks(group))
        for _ in range(20):
            kept.look()
            await asyncio.sleep(0)

    assert 1 == len(runs)
    (found,) = kept.look().found
    assert ("wrong", True) == (found.status, "RuntimeError" in found.said)
