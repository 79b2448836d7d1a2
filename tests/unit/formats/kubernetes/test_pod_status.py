from typing import Any

import pytest

from peitho.formats.kubernetes import pod_status
from peitho.formats.kubernetes.pod_status import DamagedPod, PodStatus, StartObstacle
from peitho.formats.records import Exit
from tests.support import typed

Status = dict[str, Any]

AT = "2026-01-02T03:04:05Z"
LATER = "2026-01-02T03:04:06Z"


def pod(*containers: Status, inits: tuple[Status, ...] = (), **status: Any) -> Status:
    """A Pod with the statuses of its containers."""
    return {
        "metadata": {"name": "p"},
        "status": {
            "initContainerStatuses": list(inits),
            "containerStatuses": list(containers),
            **status,
        },
    }


def container(state: Status, name: str = "build") -> Status:
    """The status of one container."""
    return {"name": name, "image": "example/builder:1", "state": state}


def waiting(reason: str, message: str = "") -> Status:
    """The state of a container that does not run yet."""
    return {"waiting": {"reason": reason, "message": message}}


def terminated(code: int, **more: Any) -> Status:
    """The state of a container that has ended."""
    return {"terminated": {"exitCode": code, "finishedAt": AT, "startedAt": AT, **more}}


RUNNING = {"running": {"startedAt": AT}}
SCHEDULED = {"type": "PodScheduled", "status": "True"}
UNSCHEDULABLE = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/1 nodes are available: 1 Insufficient memory.",
}


@pytest.mark.parametrize(
    "status",
    [{}, {"metadata": {}}, {"status": {}}, {"status": {"containerStatuses": None}}, pod()],
)
def test_of_a_pod_without_statuses_nothing_is_concluded(status: Status) -> None:
    """
    A Pod that was just made neither runs nor has ended nor is in trouble.
    """
    assert not typed.pod(status).is_running("build")
    assert "" == typed.pod(status).started_at("build")
    assert typed.pod(status).exit_of("build") is None
    assert typed.pod(status).start_obstacle("build") is None
    assert "" == typed.pod(status).last_words("build")


def test_a_running_container_runs() -> None:
    """
    Its process is there since it began; another container's does not count.
    """
    status = pod(container(RUNNING), container(waiting("ContainerCreating"), "helper"))

    assert typed.pod(status).is_running("build")
    assert AT == typed.pod(status).started_at("build")
    assert typed.pod(status).exit_of("build") is None
    assert not typed.pod(status).is_running("helper")
    assert not typed.pod(status).is_running("other")


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (terminated(0, reason="Completed"), Exit(0, "", AT)),
        (terminated(3, reason="Error"), Exit(3, "", AT)),
        (terminated(137, reason="OOMKilled"), Exit(137, "OOMKilled", AT)),
        (terminated(0, signal=9), Exit(137, "", AT)),
        (terminated(143, signal=15), Exit(143, "", AT)),
        (terminated(128, reason="StartError"), Exit(128, "StartError", AT)),
    ],
    ids=["completed", "error", "out of memory", "killed", "signal and code", "not started"],
)
def test_the_exit_code_is_as_docker_tells_it(state: Status, expected: Exit) -> None:
    """
    The process's own code, or 128 and its signal; a reason where the code does not tell it.
    """
    assert expected == typed.pod(pod(container(state), phase="Failed")).exit_of("build")


def test_an_evicted_pod_has_ended_its_containers() -> None:
    """
    The kubelet may never get to say so for each of them.
    """
    status = pod(
        container(RUNNING), phase="Failed", reason="Evicted", message="The node was low on memory."
    )

    assert Exit(137, "Evicted: The node was low on memory.") == typed.pod(status).exit_of("build")


def test_a_pods_reason_explains_a_containers_code() -> None:
    """
    A deadline kills with 137; why is told of the Pod.
    """
    status = pod(container(terminated(137, reason="Error")), reason="DeadlineExceeded")

    assert Exit(137, "DeadlineExceeded", AT) == typed.pod(status).exit_of("build")


@pytest.mark.parametrize("phase", ["Pending", "Running", "Unknown"])
def test_a_pod_that_lives_has_not_ended(phase: str) -> None:
    """
    A node that does not answer is no end of what runs on it.
    """
    assert typed.pod(pod(container(RUNNING), phase=phase)).exit_of("build") is None


@pytest.mark.parametrize(
    ("reason", "final"),
    [
        ("ErrImagePull", False),
        ("ImagePullBackOff", False),
        ("CreateContainerError", False),
        ("CreateContainerConfigError", False),
        ("RunContainerError", False),
        ("InvalidImageName", True),
        ("ErrImageNeverPull", True),
    ],
)
def test_what_keeps_a_container_waiting_is_told_with_its_image(reason: str, *, final: bool) -> None:
    """
    The reason and the message are the cluster's; some are worth another try.
    """
    found = typed.pod(pod(container(waiting(reason, "busy")))).start_obstacle("build")

    assert StartObstacle(reason, "example/builder:1: busy", final=final) == found
    assert f"{reason}: example/builder:1: busy" == str(found)


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("ErrImagePull", "manifest unknown"),
        (
            "ImagePullBackOff",
            'Back-off pulling image "example/builder:1": ErrImagePull: manifest unknown',
        ),
    ],
)
def test_an_image_that_is_not_there_is_final(reason: str, words: str) -> None:
    """
    In the words of the failed pull, whether or not the kubelet pauses after it.
    """
    found = typed.pod(pod(container(waiting(reason, words)))).start_obstacle("build")

    assert StartObstacle("ErrImagePull", "example/builder:1: manifest unknown", final=True) == found


def test_what_the_kubelet_tries_on_in_silence_may_not_stand_for_long() -> None:
    """
    What lacks an object even less than what the runtime could not do.
    """
    reasons = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
    found = [
        typed.pod(pod(container(waiting(reason)))).start_obstacle("build") for reason in reasons
    ]

    assert [5, 20, 20] == [each.patience_seconds for each in found if each]


@pytest.mark.parametrize("reason", ["StartError", "ContainerCannotRun"])
def test_a_process_that_could_not_be_begun_is_final(reason: str) -> None:
    """
    A command that the image does not have; the kubelet tells of an end, with 128.
    """
    message = 'exec: "make": executable file not found in $PATH'
    state = terminated(128, reason=reason, message=message)

    found = typed.pod(pod(container(state))).start_obstacle("build")

    assert StartObstacle(reason, f"example/builder:1: {message}", final=True) == found


def test_a_container_beside_is_nobodys_trouble() -> None:
    """
    One that a webhook added, whatever it does; the container starts without it.
    """
    for state in (waiting("ErrImagePull", "manifest unknown"), terminated(1), waiting("Any")):
        assert typed.pod(pod(container(state, "added"))).start_obstacle("build") is None


@pytest.mark.parametrize("is_known", [True, False])
def test_a_sidecar_that_ends_comes_again(*, is_known: bool) -> None:
    """
    An init container that restarts is one, also where the spec is not told.
    """
    sidecar = container(terminated(1), "proxy") | {"restartCount": 0 if is_known else 1}
    spec = {"initContainers": [{"name": "proxy", "restartPolicy": "Always"}]} if is_known else {}

    told = pod(container(waiting("PodInitializing")), inits=(sidecar,)) | {"spec": spec}

    assert typed.pod(told).start_obstacle("build") is None


def test_a_sidecar_that_ends_again_and_again_is_told_in_the_end() -> None:
    """
    Unless something else is known, such as an image that cannot be had.
    """
    sidecar = container(waiting("CrashLoopBackOff", "back-off 10s restarting"), "proxy")
    puller = container(waiting("ErrImagePull", "manifest unknown"), "puller")

    alone = typed.pod(pod(inits=(sidecar,))).start_obstacle("build")
    both = typed.pod(pod(inits=(sidecar, puller))).start_obstacle("build")

    assert StartObstacle("CrashLoopBackOff", "proxy: back-off 10s restarting", final=False) == alone
    assert alone is not None
    assert alone.patience_seconds is None
    assert both is not None
    assert "ErrImagePull" == both.reason


@pytest.mark.parametrize("reason", ["ContainerCreating", "PodInitializing", "Whatever"])
def test_ordinary_waiting_is_no_trouble(reason: str) -> None:
    """
    A container that is being made, or waits for an init container, is on its way.
    """
    assert typed.pod(pod(container(waiting(reason)))).start_obstacle("build") is None


def test_an_init_containers_pull_is_trouble_too() -> None:
    """
    The puller's own image may be what cannot be had.
    """
    puller = container(waiting("ImagePullBackOff", "denied"), "puller")

    found = typed.pod(pod(container(waiting("PodInitializing")), inits=(puller,))).start_obstacle(
        "build"
    )

    assert StartObstacle("ImagePullBackOff", "example/builder:1: denied", final=True) == found


def test_an_unschedulable_pod_says_what_it_lacks() -> None:
    """
    A node may come, so it is not final.
    """
    found = typed.pod(pod(conditions=[UNSCHEDULABLE])).start_obstacle("build")

    assert "Unschedulable: 0/1 nodes are available: 1 Insufficient memory." == str(found)
    assert found is not None
    assert not found.final
    assert found.patience_seconds is None
    assert typed.pod(pod(conditions=[SCHEDULED])).start_obstacle("build") is None


def test_a_volume_that_nobody_has_made_may_not_lack_for_long() -> None:
    """
    No node that comes would have it.
    """
    lack = 'persistentvolumeclaim "mine" not found'
    unscheduled = UNSCHEDULABLE | {"message": f"0/1 nodes are available: {lack}. not found"}

    found = typed.pod(pod(conditions=[unscheduled])).start_obstacle("build")

    assert found is not None
    assert 5 == found.patience_seconds


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (terminated(1, message="no layer\n"), "puller failed: no layer"),
        (terminated(2), "puller failed: exit 2"),
        (terminated(1, signal=9), "puller failed: exit 137"),
    ],
)
def test_a_failed_init_container_is_final(state: Status, expected: str) -> None:
    """
    Its last words are the cause.
    """
    found = typed.pod(pod(inits=(container(state, "puller"),))).start_obstacle("chaincode")

    assert expected == str(found)
    assert found is not None
    assert found.final


def test_an_init_container_that_succeeded_is_no_trouble() -> None:
    """
    Neither is the container itself when it has ended with a code.
    """
    puller = container(terminated(0, message="done"), "puller")

    assert typed.pod(pod(container(terminated(3)), inits=(puller,))).start_obstacle("build") is None


def test_last_words_are_the_termination_message_or_the_reason() -> None:
    """
    Where a container said nothing, the cluster's word is what is known.
    """
    assert "why" == typed.pod(pod(container(terminated(1, message="why\n")))).last_words("build")
    assert "OOMKilled" == typed.pod(pod(container(terminated(137, reason="OOMKilled")))).last_words(
        "build"
    )
    assert "" == typed.pod(pod(container(RUNNING))).last_words("build")
    assert "" == typed.pod(pod(container(terminated(1, message="x")))).last_words("helper")


@pytest.mark.parametrize(
    "damaged",
    [
        {"metadata": {"name": "p", "labels": "no"}},
        {"metadata": {"name": "p", "ownerReferences": [{"kind": "Job"}]}},
        {"metadata": {"name": "p"}, "status": {"containerStatuses": [{}]}},
        {"metadata": {"name": "p"}, "status": {"containerStatuses": ["no"]}},
        {"metadata": {"name": "p"}, "status": {"conditions": [{}]}},
    ],
)
def test_what_is_no_pod_is_a_value_of_its_own(damaged: Status) -> None:
    """
    A watch goes on after it, and a list has all the others.
    """
    found = pod_status.read(damaged)

    assert isinstance(found, DamagedPod)
    assert "p" == found.name


class TestThePullerBeside:
    """Chaincode counts once the puller, a container beside it, has brought its layer."""

    def pod(self, puller: Status, chaincode: Status) -> PodStatus:
        """A Pod whose two containers are in these states."""
        return typed.pod(pod(container(puller, "puller"), container(chaincode, "chaincode")))

    def test_chaincode_is_as_it_is_once_its_layer_is_there(self) -> None:
        """
        Running, or ended by its own code.
        """
        running = self.pod(terminated(0), RUNNING)
        over = self.pod(terminated(0), terminated(3))

        assert running.is_shown_running("chaincode")
        assert not running.has_begun_alone
        assert over.has_ended
        end = over.exit_of("chaincode")
        assert end is not None
        assert 3 == end.code

    @pytest.mark.parametrize(
        "puller", [waiting("ContainerCreating"), waiting("ErrImagePull", "timeout")]
    )
    @pytest.mark.parametrize("chaincode", [RUNNING, terminated(128, reason="StartError")])
    def test_what_ran_before_the_puller_began_was_not_it(
        self, puller: Status, chaincode: Status
    ) -> None:
        """
        It did not start, nor has it ended; another Pod is needed.
        """
        found = self.pod(puller, chaincode)

        assert not found.started_at("chaincode")
        assert found.exit_of("chaincode") is None
        assert not found.has_ended
        assert found.has_begun_alone

    def test_the_pullers_end_may_show_later(self) -> None:
        """
        The kubelet makes no chaincode before its word.
        """
        assert self.pod(RUNNING, RUNNING).is_shown_running("chaincode")
        assert self.pod(RUNNING, terminated(3)).has_ended

    def test_a_puller_that_failed_is_told_and_ends_the_container(self) -> None:
        """
        What was to run on the layer cannot be made, and never will be.
        """
        found = self.pod(
            terminated(1, message="no layer"), waiting("CreateContainerConfigError", "subPath")
        )

        obstacle, end = found.start_obstacle("chaincode"), found.exit_of("chaincode")
        assert obstacle is not None
        assert obstacle.final
        assert "puller failed: no layer" == str(obstacle)
        assert end is not None
        assert (137, "puller failed: no layer") == (end.code, end.reason)
        assert not found.has_begun_alone

    @pytest.mark.parametrize(
        "puller",
        [
            terminated(128, reason="StartError", startedAt="1970-01-01T00:00:00Z"),
            terminated(0, reason="ContainerCannotRun"),
            terminated(137, reason="OOMKilled"),
            terminated(1, message="there is no CA of Peitho"),
            terminated(137, finishedAt=None),
        ],
    )
    @pytest.mark.parametrize("chaincode", [RUNNING, terminated(128, reason="StartError")])
    def test_what_ran_though_the_puller_failed_was_not_it(
        self, puller: Status, chaincode: Status
    ) -> None:
        """
        A puller may die before it has put a file where the layer will be; its node may tell first.
        """
        found = self.pod(puller, chaincode).with_begun("chaincode", at=AT)

        assert not found.is_running("chaincode")
        assert not found.started_at("chaincode")
        assert found.has_begun_alone

    @pytest.mark.parametrize(
        "puller",
        [
            {"running": {"startedAt": LATER}},
            terminated(0, startedAt=LATER, finishedAt=LATER),
            terminated(1, startedAt=LATER, finishedAt=LATER),
            terminated(1, finishedAt=LATER),
        ],
    )
    @pytest.mark.parametrize(
        "chaincode",
        [
            RUNNING,
            terminated(3),
            terminated(128, reason="StartError", startedAt="1970-01-01T00:00:00Z"),
        ],
    )
    def test_what_ran_before_its_puller_was_not_it(self, puller: Status, chaincode: Status) -> None:
        """
        Whatever the puller found then; one that failed by its own word brought nothing.
        """
        found = self.pod(puller, chaincode)

        assert not found.started_at("chaincode")
        assert found.has_begun_alone

    def test_chaincode_that_cannot_be_begun_on_its_layer_is_told_as_such(self) -> None:
        """
        The kubelet has 1970 for its start, which is before its puller's.
        """
        found = self.pod(
            terminated(0), terminated(128, reason="StartError", startedAt="1970-01-01T00:00:00Z")
        )

        assert not found.has_begun_alone
        end = found.exit_of("chaincode")
        assert end is not None
        assert 128 == end.code

    def test_a_puller_that_failed_first_is_what_is_told(self) -> None:
        """
        Whatever became of chaincode.
        """
        found = self.pod(terminated(137, reason="OOMKilled"), terminated(126))

        obstacle, end = found.start_obstacle("chaincode"), found.exit_of("chaincode")
        assert obstacle is not None
        assert obstacle.final
        assert "puller failed: exit 137" == str(obstacle)
        assert end is not None
        assert (137, "puller failed: exit 137") == (end.code, end.reason)

    def test_a_puller_that_is_killed_after_its_word_takes_nothing_away(self) -> None:
        """
        Chaincode that has its layer is running, and stays so.
        """
        killed = terminated(137, reason="OOMKilled", finishedAt=LATER)

        assert self.pod(killed, RUNNING).is_shown_running("chaincode")
        assert not self.pod(killed, RUNNING).has_begun_alone

    def test_what_keeps_the_puller_back_is_told(self) -> None:
        """
        An image that cannot be had, whatever became of chaincode.
        """
        found = self.pod(
            waiting("ErrImagePull", "manifest unknown"), terminated(128, reason="StartError")
        ).start_obstacle("chaincode")

        assert found is not None
        assert found.final
        assert "ErrImagePull" == found.reason
