import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from peitho.clients.kubernetes.api import Kubernetes
from peitho.program.checks import pods
from peitho.settings.models import Settings
from tests.support.check_findings import brief, gathered
from tests.support.kubernetes_double import ApiServer, answer, refusal

ADDRESS = "peitho:8081"
PULL = {"waiting": {"reason": "ErrImagePull", "message": "manifest unknown: not found"}}


@asynccontextmanager
async def cluster(
    directory: Path, state: dict[str, Any]
) -> AsyncIterator[tuple[ApiServer, Kubernetes]]:
    """A cluster in which each Job has a Pod at once, whose container is in a state."""
    async with ApiServer.start() as double, double.client(directory) as kubernetes:

        async def make(request: web.Request) -> web.StreamResponse:
            job = await request.json()
            name = job["metadata"]["name"]
            template = job["spec"]["template"]
            status = {"name": "chaincode", "image": "i", "state": state}
            double.make(
                f"pods/{name}",
                {
                    "metadata": {"name": name, **template["metadata"]},
                    "spec": template["spec"],
                    "status": {"phase": "Pending", "containerStatuses": [status]},
                },
            )
            return answer(double.make(f"jobs/{name}", job), status=201)

        double.rule("POST", "jobs", make)
        yield double, kubernetes


def ended(message: str) -> dict[str, Any]:
    """A container that left a message."""
    return {"terminated": {"exitCode": 0, "reason": "Completed", "message": message}}


async def test_each_image_is_tried_in_a_pod(tmp_path: Path) -> None:
    """
    Under what it is pulled as; nothing of the trial stays.
    """
    settings = Settings.model_validate({"images": {"rewrite": {"hyperledger/*": "m.io/*"}}})
    for state, status in ((ended(""), "ok"), (PULL, "wrong")):
        async with cluster(tmp_path, state) as (double, kubernetes):
            found = await gathered(
                pods.images(settings, kubernetes, builders=["hyperledger/a"], runtimes=["b"])
            )
            assert [] == [each for each in double.objects if each.startswith("jobs/")]

        assert [("images", status)] * 2 == brief(found)
        assert "hyperledger/a (as m.io/a:latest)" in found[0].said
    assert "manifest unknown" in found[0].said


async def test_what_a_pod_reaches_is_told(tmp_path: Path) -> None:
    """
    Delivery, and each peer.
    """
    told = json.dumps({ADDRESS: "", "p:1": "Name or service not known"})
    async with cluster(tmp_path, ended(told)) as (_, kubernetes):
        found = await gathered(pods.reach(Settings(), kubernetes, peers=["p:1"]))

    assert [("delivery", "ok"), ("peers", "wrong")] == brief(found)
    assert "p:1 is not reached from a Pod: Name or service not known" == found[1].said


async def test_a_pod_that_tells_nothing_or_does_not_come_is_wrong(tmp_path: Path) -> None:
    """
    With why, where that is known.
    """
    for state in (ended("Traceback"), ended("[1]"), PULL):
        async with cluster(tmp_path, state) as (_, kubernetes):
            assert [("delivery", "wrong")] == brief(
                await gathered(pods.reach(Settings(), kubernetes, peers=[]))
            )
    async with cluster(tmp_path, {}) as (double, kubernetes):
        double.rule("POST", "jobs", _refuse)
        (only,) = await gathered(pods.reach(Settings(), kubernetes, peers=[]))
    assert "exceeded quota" in only.said


async def _refuse(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(0)
    return refusal(403, "Forbidden", "exceeded quota")
