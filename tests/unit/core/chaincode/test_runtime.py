import asyncio
import json
from pathlib import Path

import pytest

from peitho.formats.kubernetes import labels
from tests.support.launches import Scene, scene

TRIED = "docker.io/hyperledger/fabric-baseos@sha256:" + "aa" * 32
RUNS = "docker.io/hyperledger/fabric-baseos@sha256:" + "bb" * 32


def noted(it: Scene) -> list[str]:
    """Which runtime images a Job was told of."""
    return [
        json.loads(body)["metadata"]["annotations"][labels.RUNTIME_ID]
        for method, path, _, body in it.cluster.requests
        if method == "PATCH" and path.startswith("jobs/")
    ]


@pytest.mark.parametrize(("runs", "told"), [(TRIED, []), (RUNS, [RUNS]), ("", [])])
async def test_a_job_is_told_of_another_runtime_image_alone(
    tmp_path: Path, runs: str, told: list[str]
) -> None:
    """
    The one that was tried it says from the beginning.
    """
    async with scene(tmp_path) as it:
        container = await it.create()
        image = it.parts.services.images.get("mycc")
        await it.parts.services.images.note_runtime(image, TRIED)
        it.image_id = runs

        await it.launch(container)
        await asyncio.sleep(1)

        (job,) = (body for path, body in it.cluster.objects.items() if path.startswith("jobs/"))
        assert told == noted(it)
        notes = job["spec"]["template"]["metadata"]["annotations"]
        assert (image.layer, TRIED) == (notes[labels.LAYER], notes[labels.RUNTIME_ID])
        shown = (await container.inspect()).summary.labels
        assert runs == shown.get(labels.RUNTIME_ID, "")


async def test_a_job_that_is_gone_is_told_nothing(tmp_path: Path) -> None:
    """
    And nobody is told of that.
    """
    async with scene(tmp_path) as it:
        it.image_id = RUNS
        container = await it.create()
        await it.launch(container)
        for path in [path for path in it.cluster.objects if "jobs/" in path]:
            del it.cluster.objects[path]
        await asyncio.sleep(1)

        assert (await container.inspect()).summary.labels[labels.RUNTIME_ID] == RUNS
