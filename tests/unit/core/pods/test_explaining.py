"""What keeps a Pod back, asked of a double of the API server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from peitho.clients.kubernetes.pod_watch import PodWatch
from peitho.core.pods.explaining import Asked, explain
from peitho.core.pods.patience import Patience
from peitho.errors import StartFailed
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.kubernetes.pod_status import StartObstacle
from tests.support import typed
from tests.support.kubernetes_double import ApiServer, always, answer, refusal, watch

KEY = "peitho/container"
JOB: Manifest = {
    "metadata": {"name": "job"},
    "spec": {"template": {"metadata": {"labels": {}}, "spec": {}}},
}
POD: Manifest = {"metadata": {"name": "p", "labels": {KEY: "a"}, "resourceVersion": "1"}}
MOUNT = 'MountVolume.SetUp failed for volume "v" : configmap "mine" not found'
REFUSED = 'Error creating: pods "job-" is forbidden: exceeded quota: q'


def event(kind: str, name: str, reason: str, message: str, at: str = "1") -> Manifest:
    """An Event on an object."""
    about = {"kind": kind, "name": name}
    return {"involvedObject": about, "reason": reason, "message": message, "lastTimestamp": at}


@dataclass
class Scene:
    """A cluster's double, whom to ask there, and what was heard."""

    cluster: ApiServer
    asked: Asked
    patience: Patience

    def says(self, *told: Manifest) -> None:
        """Let the cluster have these Events."""
        self.cluster.objects.update(
            {f"events/{number}": {"metadata": {}} | each for number, each in enumerate(told)}
        )

    async def cause(self) -> str:
        """Why the start fails, without waiting for its time-out."""
        with pytest.raises(StartFailed) as raised:
            await explain(self.asked, self.patience)
        return str(raised.value)

    async def last(self, seconds: float = 60) -> str:
        """What is remembered after a while in which nothing is an answer."""
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(seconds):
                await explain(self.asked, self.patience)
        return str(self.patience.last or "")


@asynccontextmanager
async def scene(
    tmp_path: Path, *, pod: Manifest | None = None, job: Manifest | None = JOB
) -> AsyncIterator[Scene]:
    """A cluster that has a Job, and its Pod if one is given."""
    async with ApiServer.start() as cluster, asyncio.TaskGroup() as group:
        news = [watch({"type": "ADDED", "object": pod}, stay=True)] if pod else []
        cluster.script("WATCH", "pods", *news)
        async with cluster.client(tmp_path) as kubernetes:
            pods = PodWatch(kubernetes, labels={})
            task = group.create_task(pods.run())
            if pod:
                await typed.seen(pods, "a", lambda seen: bool(seen.pod) or None)
            if job:
                cluster.objects["jobs/job"] = job
            yield Scene(cluster, Asked(kubernetes, pods, "a", job), Patience())
            task.cancel()


class TestWithoutAPod:
    async def test_the_api_server_says_what_keeps_a_pod(self, tmp_path: Path) -> None:
        """
        It is offered the Pod as a dry run, again and again until it refuses.
        """
        async with scene(tmp_path) as it:
            fine = always(lambda: answer({}, status=201))
            over = always(lambda: refusal(403, "Forbidden", "exceeded quota: q"))
            it.cluster.script("POST", "pods", fine, over)

            assert "exceeded quota: q" == await it.cause()
            assert 2 == it.cluster.count("POST", "pods")
            queries = [each[2] for each in it.cluster.requests if each[:2] == ("POST", "pods")]
            assert [{"dryRun": "All", "fieldValidation": "Strict"}] * 2 == queries

    async def test_a_pod_that_is_there_is_not_kept_away(self, tmp_path: Path) -> None:
        """
        It may be what used up the quota, while the watch is silent.
        """
        async with scene(tmp_path) as it:
            it.cluster.objects["pods/p"] = POD
            over = always(lambda: refusal(403, "Forbidden", "exceeded quota: q"))
            it.cluster.script("POST", "pods", over, over)

            assert "" == await it.last(3)

    @pytest.mark.parametrize("code", [429, 500, 503])
    async def test_a_webhook_that_is_away_may_come_back(self, tmp_path: Path, code: int) -> None:
        """
        What it was is told when the time is over.
        """
        async with scene(tmp_path) as it:
            away = always(lambda: refusal(code, "", "failed calling webhook w"))
            it.cluster.script("POST", "pods", *[away] * 100)

            assert "failed calling webhook w" == await it.last()

    async def test_a_webhook_that_takes_no_dry_run_is_no_refusal(self, tmp_path: Path) -> None:
        """
        Then the Job's own Events tell, and a refusal that stands is the answer.
        """
        async with scene(tmp_path) as it:
            no = 'admission webhook "w" does not support dry run'
            no_dry_run = always(lambda: refusal(400, "BadRequest", no))
            it.cluster.script("POST", "pods", *[no_dry_run] * 100)
            it.says(event("Job", "job", "FailedCreate", REFUSED))

            assert f"FailedCreate: {REFUSED}" == await it.cause()

    async def test_a_job_that_is_suspended_is_told(self, tmp_path: Path) -> None:
        """
        Within seconds: by a webhook, for instance, that has no room for it.
        """
        suspended = JOB | {"spec": JOB["spec"] | {"suspend": True}}
        async with scene(tmp_path, job=suspended) as it:
            began = asyncio.get_running_loop().time()
            cause = await it.cause()

            assert cause.startswith("Suspended: the Job job has spec.suspend")
            assert 15 > asyncio.get_running_loop().time() - began

    async def test_a_job_that_is_let_go_is_waited_for(self, tmp_path: Path) -> None:
        """
        Most queues of Jobs do so at once.
        """
        suspended = JOB | {"spec": JOB["spec"] | {"suspend": True}}
        async with scene(tmp_path) as it:
            it.cluster.script("GET", "jobs/job", *[always(lambda: answer(suspended))] * 3)

            assert "" == await it.last()

    async def test_nobody_is_asked_more_and_more(self, tmp_path: Path) -> None:
        """
        Within ten minutes, some seventy times.
        """
        async with scene(tmp_path) as it:
            await it.last(600)

            assert 80 > it.cluster.count("POST", "pods")


class TestWithAPod:
    @pytest.mark.parametrize(
        "message",
        [
            MOUNT,
            'MountVolume.SetUp failed for volume "v" : secret "mine" not found',
            'MountVolume.SetUp failed for volume "v" : references non-existent secret key: k',
            'MountVolume.SetUp failed for volume "v" : references non-existent config key: k',
        ],
    )
    async def test_what_a_template_lacks_is_told_within_seconds(
        self, tmp_path: Path, message: str
    ) -> None:
        """
        The Pod's status says ContainerCreating and no more.
        """
        async with scene(tmp_path, pod=POD) as it:
            it.says(event("Pod", "p", "FailedMount", message))
            began = asyncio.get_running_loop().time()

            assert f"FailedMount: {message}" == await it.cause()
            assert 10 > asyncio.get_running_loop().time() - began

    async def test_what_may_pass_is_told_in_the_end(self, tmp_path: Path) -> None:
        """
        The latest word of several, about this Pod and not another, and no ordinary news.
        """
        async with scene(tmp_path, pod=POD) as it:
            it.says(
                event("Pod", "p", "FailedMount", "timed out waiting for the condition", "1"),
                event("Pod", "p", "FailedCreatePodSandBox", "plugin is not ready", "2"),
                event("Pod", "other", "FailedMount", MOUNT, "3"),
                event("Pod", "p", "Scheduled", "to node", "4"),
                event("Pod", "p", "FailedToRetrieveImagePullSecret", "mine", "5"),
                event("Pod", "p", "Failed", "Error: ErrImagePull", "6"),
                {"metadata": {}, "message": "none"},
            )

            assert "FailedCreatePodSandBox: plugin is not ready" == await it.last()

    async def test_an_object_that_comes_is_waited_for(self, tmp_path: Path) -> None:
        """
        A ConfigMap that is made in the same moment.
        """
        async with scene(tmp_path, pod=POD) as it:
            lacking = {"items": [event("Pod", "p", "FailedMount", MOUNT)]}
            it.cluster.script("GET", "events", always(lambda: answer(lacking)))

            assert "" == await it.last()

    async def test_without_the_right_to_read_events_nothing_is_told(self, tmp_path: Path) -> None:
        """
        As before Peitho had it.
        """
        async with scene(tmp_path, pod=POD) as it:
            no = always(lambda: refusal(403, "Forbidden", "cannot list events"))
            it.cluster.script("GET", "events", *[no] * 100)

            assert "" == await it.last()

    async def test_a_pause_whose_cause_is_not_told_needs_a_question(self, tmp_path: Path) -> None:
        """
        Before Kubernetes 1.31, and where the watch was cut in that moment.
        """
        words = 'Failed to pull image "i:1": manifest unknown'
        async with scene(tmp_path, pod=POD) as it:
            pause = StartObstacle("ImagePullBackOff", "i:1: Back-off", final=False)
            it.patience.see(pause, version="1")
            it.says(event("Pod", "p", "Failed", words))

            assert f"ErrImagePull: {words}" == await it.cause()

    async def test_an_ordinary_launch_asks_nobody(self, tmp_path: Path) -> None:
        """
        It runs before anybody is asked.
        """
        async with scene(tmp_path, pod=POD) as it:
            before = len(it.cluster.requests)
            await it.last(2.9)

            assert before == len(it.cluster.requests)

    async def test_a_pod_that_gets_on_needs_no_question(self, tmp_path: Path) -> None:
        """
        However long it takes on a busy node; once its status stands still, it is asked about.
        """
        async with scene(tmp_path, pod=POD) as it, asyncio.TaskGroup() as group:
            group.create_task(it.last(10))
            for version in range(2, 7):
                await asyncio.sleep(1.2)
                later = POD["metadata"] | {"resourceVersion": str(version)}
                it.asked.watch.take("MODIFIED", typed.pod(POD | {"metadata": later}))
            assert 0 == it.cluster.count("GET", "events")

        assert 1 <= it.cluster.count("GET", "events") <= 3

    async def test_what_the_status_says_needs_no_question(self, tmp_path: Path) -> None:
        """
        The Pod's own words come first.
        """
        waiting: dict[str, Any] = {"waiting": {"reason": "ErrImagePull", "message": "busy"}}
        status = {"containerStatuses": [{"name": "main", "image": "i:1", "state": waiting}]}
        async with scene(tmp_path, pod=POD | {"status": status}) as it:
            seen = typed.pod(POD | {"status": status}).start_obstacle("main")
            it.patience.see(seen, version="1")

            assert "ErrImagePull: i:1: busy" == await it.last()
            assert 0 == it.cluster.count("GET", "events")
