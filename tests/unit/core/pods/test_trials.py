"""Trials of runtime images, before a double of the API server whose Pods do what a test says."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import structlog.testing
from aiohttp import web

from peitho.clients.kubernetes.pod_watch import PodWatch
from peitho.core.pods.account_secrets import AccountSecrets
from peitho.core.pods.trials import RuntimeTrials
from peitho.core.tasks import BackgroundTasks
from peitho.errors import PeithoError
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.kubernetes.pod_options import PodOptions
from peitho.formats.records import CHAINCODE
from peitho.settings.live import Replaceable
from tests.support.kubernetes_double import ApiServer, always, refusal
from tests.support.manifests import IMAGE, SETTINGS

AT = "2026-01-02T03:04:05Z"
CREATING = {"waiting": {"reason": "ContainerCreating"}}
RUNNING = {"running": {"startedAt": AT}}
MISSING = {"waiting": {"reason": "ErrImagePull", "message": "manifest unknown"}}
BUSY = {"waiting": {"reason": "ErrImagePull", "message": "429 Too Many Requests"}}
_BOOKMARK = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "900"}}}
FULL = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1"}


@dataclass
class Scene:
    """The trials, and the cluster before them."""

    cluster: ApiServer
    trials: RuntimeTrials

    @property
    def tried(self) -> int:
        """How many Pods were tried."""
        return self.cluster.count("POST", "jobs")

    async def refused(self) -> str:
        """Why the image cannot be had."""
        with pytest.raises(PeithoError) as raised:
            await self.trials.require(IMAGE)
        return str(raised.value)


@asynccontextmanager
async def scene(
    tmp_path: Path,
    *states: Manifest,
    conditions: Sequence[Manifest] = (),
    made_with: PodOptions = SETTINGS,
) -> AsyncIterator[Scene]:
    """A cluster in which each trial's Pod goes through these states; none at all without any."""
    async with (
        ApiServer.start() as cluster,
        cluster.client(tmp_path) as kubernetes,
        asyncio.TaskGroup() as group,
    ):
        cluster.script("WATCH", "pods", _told(cluster, states, conditions))
        watch, tasks = PodWatch(kubernetes, labels={}), BackgroundTasks(group)
        tasks.run(watch.run(), name="pod watch")
        pods = Replaceable(made_with)
        trials = RuntimeTrials(
            kubernetes, watch, pods=pods, tasks=tasks, account_secrets=AccountSecrets(kubernetes)
        )
        yield Scene(cluster, trials)
        tasks.cancel()


def _told(cluster: ApiServer, states: Sequence[Manifest], conditions: Sequence[Manifest]) -> Any:
    async def script(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for trial in range(1, 10):
            await cluster.until_asked("POST", "jobs", times=trial)
            bodies = [each[3] for each in cluster.requests if each[:2] == ("POST", "jobs")]
            job = json.loads(bodies[trial - 1])
            for number, state in enumerate(states):
                pod = _pod(job, state, str(100 * trial + number), conditions)
                await response.write(json.dumps({"type": "MODIFIED", "object": pod}).encode())
                await response.write(b"\n")
                await asyncio.sleep(0.05)
            if states == (CREATING,):  # and no more: the watch is alive
                while True:
                    await asyncio.sleep(10)
                    await response.write(json.dumps(_BOOKMARK).encode() + b"\n")
        return response

    return script


def _pod(job: Manifest, state: Manifest, version: str, conditions: Sequence[Manifest]) -> Manifest:
    own = job["spec"]["template"]["metadata"]["labels"]
    name = f"{job['metadata']['name']}-x"
    image_id = state.get("imageID", "")
    state = {key: value for key, value in state.items() if key != "imageID"}
    status = {"name": CHAINCODE, "image": "i:1", "imageID": image_id, "state": state}
    statuses = [status] if state else []
    return {
        "metadata": {"name": name, "labels": own, "resourceVersion": version},
        "status": {"containerStatuses": statuses, "conditions": list(conditions)},
    }


async def test_an_image_that_nodes_have_is_tried_once(tmp_path: Path) -> None:
    """
    And nothing of it stays.
    """
    async with scene(tmp_path, CREATING, RUNNING) as it:
        await it.trials.require(IMAGE)
        await it.trials.require(replace(IMAGE, name="other"))

        assert 1 == it.tried
        assert {} == it.cluster.objects


async def test_a_trial_pulls_as_chaincode_does(tmp_path: Path) -> None:
    """
    With the Secrets of its ServiceAccount beside the one of a registry of Peitho's.
    """
    options = replace(SETTINGS, pull_secrets=("peitho-registry",))
    async with scene(tmp_path, RUNNING, made_with=options) as it:
        named = {"imagePullSecrets": [{"name": "mirror"}]}
        it.cluster.make("serviceaccounts/default", {"metadata": {}, **named})
        await it.trials.require(IMAGE)
        (body,) = [each[3] for each in it.cluster.requests if each[:2] == ("POST", "jobs")]

    spec = json.loads(body)["spec"]["template"]["spec"]
    assert [{"name": "peitho-registry"}, {"name": "mirror"}] == spec["imagePullSecrets"]


async def test_which_image_a_process_has_is_told_after_it_began(tmp_path: Path) -> None:
    """
    Its node tells of the process at once, and of the image within its second: no later request.
    """
    async with scene(tmp_path, CREATING, RUNNING, {"imageID": "sha256:1", **RUNNING}) as it:
        assert "sha256:1" == await it.trials.require(IMAGE)


@pytest.mark.parametrize(
    "state",
    [
        {"terminated": {"exitCode": 0, "startedAt": AT}},
        {"terminated": {"exitCode": 128, "reason": "StartError", "message": "no `true`"}},
        {"waiting": {"reason": "CreateContainerConfigError", "message": "runs as root"}},
    ],
    ids=["ended", "without the command", "not as configured"],
)
async def test_what_comes_after_the_pull_is_the_launchs_affair(
    tmp_path: Path, state: Manifest
) -> None:
    """
    The node has the image.
    """
    async with scene(tmp_path, CREATING, state) as it:
        await it.trials.require(IMAGE)

        assert 1 == it.tried


async def test_an_image_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    """
    And tried again the next time: somebody may have brought it.
    """
    async with scene(tmp_path, CREATING, MISSING) as it:
        why = "the runtime image hyperledger/fabric-baseos:2.5 cannot be had: ErrImagePull: i:1: "
        assert f"{why}manifest unknown" == await it.refused()
        assert f"{why}manifest unknown" == await it.refused()

        assert 2 == it.tried
        assert {} == it.cluster.objects


async def test_a_registry_that_is_busy_is_tried_on(tmp_path: Path) -> None:
    """
    The kubelet tries three times.
    """
    async with scene(tmp_path, BUSY, BUSY, RUNNING) as it:
        await it.trials.require(IMAGE)

    async with scene(tmp_path, BUSY, BUSY, BUSY) as it:
        assert "429 Too Many Requests" in await it.refused()


async def test_equal_images_share_a_trial(tmp_path: Path) -> None:
    """
    Peers that install at the same time.
    """
    async with scene(tmp_path, CREATING, MISSING) as it, asyncio.TaskGroup() as group:
        told = [group.create_task(it.refused()) for _ in range(3)]
        await asyncio.wait(told)

        assert 1 == len({each.result() for each in told})
        assert 1 == it.tried


async def test_a_peer_that_hangs_up_ends_no_trial_of_another(tmp_path: Path) -> None:
    """
    It goes on to its end.
    """
    async with scene(tmp_path, CREATING, RUNNING) as it, asyncio.TaskGroup() as group:
        first = group.create_task(it.trials.require(IMAGE))
        await it.cluster.until_asked("POST", "jobs")
        first.cancel()
        await it.trials.require(IMAGE)

        assert 1 == it.tried


async def test_so_many_are_tried_at_once_and_no_more(tmp_path: Path) -> None:
    """
    Whatever images a peer names.
    """
    async with scene(tmp_path) as it, asyncio.TaskGroup() as group:
        for number in range(10):
            image = replace(IMAGE, runtime=f"acme/base:{number}")
            group.create_task(it.trials.require(image))
        await it.cluster.until_asked("POST", "jobs", times=8)

        assert 8 == len(it.cluster.objects)


async def test_a_pod_that_no_node_takes_fails_no_build(tmp_path: Path) -> None:
    """
    Unschedulable, or held back by a quota: the launch will tell.
    """
    for states, conditions in (((), ()), (({},), (FULL,))):
        async with scene(tmp_path, *states, conditions=conditions) as it:
            with structlog.testing.capture_logs() as logs:
                began = asyncio.get_running_loop().time()
                await it.trials.require(IMAGE)

            assert 6 > asyncio.get_running_loop().time() - began
            assert ["runtime image not tried"] == [each["event"] for each in logs]
            assert {} == it.cluster.objects


async def test_a_job_that_is_refused_fails_no_build(tmp_path: Path) -> None:
    """
    A quota on Jobs, or a cluster that is away.
    """
    async with scene(tmp_path) as it:
        it.cluster.script("POST", "jobs", always(lambda: refusal(403, "Forbidden", "quota: q")))
        with structlog.testing.capture_logs() as logs:
            await it.trials.require(IMAGE)

        assert "quota: q" == logs[-1]["cause"]


async def test_a_large_image_goes_on_being_pulled(tmp_path: Path) -> None:
    """
    The build is not held up by more than a minute.
    """
    async with scene(tmp_path, CREATING) as it:
        began = asyncio.get_running_loop().time()
        await it.trials.require(IMAGE)

        assert 60 == pytest.approx(asyncio.get_running_loop().time() - began, abs=5)
