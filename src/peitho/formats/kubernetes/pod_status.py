"""
What is read of a Pod: whose it is, and what its status says of its containers.

All of it is the cluster's own words; nothing is concluded from a Pod's absence.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from peitho.formats.kubernetes import labels, names, pull_errors
from peitho.formats.kubernetes.lacking import LACK_SECONDS, lacks_object
from peitho.formats.kubernetes.objects import Manifest, ObjectReference, metadata_of, shared
from peitho.formats.records import BUILD, CHAINCODE, PULLER, SIGKILLED, Exit

# Reasons for which a container waits that no retry of the kubelet will mend.
_FINAL = frozenset({"InvalidImageName", "ErrImageNeverPull", "SignatureValidationFailed"})
# A pull that failed: its words tell whether another try will help.
_PULLS = frozenset({"ErrImagePull", "ImagePullBackOff", "ImageInspectError", "RegistryUnavailable"})
# What the kubelet tries again without a word, and how long it may stand: a ConfigMap or a Secret
# that is made in the same moment comes within seconds, a runtime that is busy recovers.
_STANDING_SECONDS = {
    "CreateContainerConfigError": 5.0,
    "CreateContainerError": 20.0,
    "RunContainerError": 20.0,
}
# What is worth telling only when the time is over.
_TOLD_LATE = frozenset({"CrashLoopBackOff"})
# A container whose process could not be begun, though the kubelet says that it ended.
_NEVER_BEGAN = ("StartError", "ContainerCannotRun")
# The code of a puller that has not brought the layer; it has no failure after its word.
_PULLER_FAILED = 1
# Exit reasons that tell nothing which the exit code does not tell.
_PLAIN_REASONS = ("Completed", "Error", "")
# The reason of an end that no kubelet told of.
NODE_LOST = "node lost"
# The reason of an end that nobody saw: the Pod is gone, whoever deleted it.
POD_DELETED = "the Pod was deleted"
# Kubernetes' own garbage collector ends the Pods of nodes that are no more
# (kubernetes/pkg/controller/podgc, `DisruptionTarget`).
_BY_POD_GC = "DeletionByPodGC"
_JOB_UID = "batch.kubernetes.io/controller-uid"
# What reading raises where the API server's answer is not a Pod.
_DAMAGE = (ValueError, KeyError, TypeError, AttributeError)


@dataclass(frozen=True, slots=True)
class StartObstacle:
    """
    What keeps a container from starting.

    It is `final` if waiting will not help, a `failed_pull` if some tries decide. What may stand for
    a while, and is an answer then, has `patience_seconds`.
    """

    reason: str
    message: str
    final: bool
    failed_pull: bool = field(default=False, compare=False)
    patience_seconds: float | None = field(default=None, compare=False)

    @property
    def is_pause(self) -> bool:
        """Whether a pull failed, and it is not told why: so it is before Kubernetes 1.31."""
        return self.reason == "ImagePullBackOff" and not self.final

    @property
    def is_about_image(self) -> bool:
        """Whether the node does not have the image, or must not run it."""
        return self.reason in _FINAL | _PULLS

    def __str__(self) -> str:
        return ": ".join(part for part in (self.reason, self.message) if part)


@dataclass(frozen=True, slots=True)
class Termination:
    """How the kubelet saw a container's process end; `code` is Docker's exit code."""

    code: int
    reason: str
    message: str
    finished_at: str


@dataclass(frozen=True, slots=True)
class ContainerStatus:
    """
    The state of one container of a Pod.

    `started_at` is RFC 3339 and empty until the process began; `waiting_reason` is empty unless the
    container waits. `is_init` is for what comes before: an init container, or the puller beside
    chaincode. A sidecar is an init container that runs on, and may end and come again.
    `is_ahead` is for a process that its node has begun and not yet written into the Pod's status.
    `image_id` has the digest of the image that the node took for `image`.
    """

    name: str
    image: str
    is_init: bool
    is_sidecar: bool
    waiting_reason: str
    waiting_message: str
    is_running: bool
    started_at: str
    termination: Termination | None
    is_ahead: bool = False
    image_id: str = ""

    @property
    def has_failed_before(self) -> bool:
        """Whether it should have come before the others, and has failed for good."""
        end = self.termination
        return self.is_init and not self.is_sidecar and end is not None and end.code != 0


@dataclass(frozen=True, slots=True)
class PodStatus:
    """
    What is read of one Pod of ours.

    `container_label` is the label by which the Pod of a container is known; `record_id` and
    `record_name` are those of the container's record, empty where the Pod does not say them.
    `created_at` is RFC 3339; `grace_seconds` is what a Pod that is being deleted has left to end,
    None for any other; `hosts` are the names and addresses that its hosts file has beside the DNS;
    `node` is empty until the Pod has one. It `has_begun_alone` if its chaincode will never have its
    layer: it was begun without a puller that brought it. `said` is what it says of what it runs.
    """

    name: str
    uid: str
    resource_version: str
    kind: str
    container_label: str
    record_id: str
    record_name: str
    job: ObjectReference | None
    is_copy: bool
    created_at: str
    grace_seconds: int | None
    phase: str
    reason: str
    unscheduled: StartObstacle | None
    containers: tuple[ContainerStatus, ...]
    hosts: tuple[tuple[str, str], ...] = ()
    node: str = ""
    has_begun_alone: bool = False
    said: Mapping[str, str] = field(default_factory=dict)

    @property
    def proof(self) -> dict[str, str]:
        """What its chaincode runs (`labels.PROOF`); what the node says of the image counts."""
        told = dict(self.said)
        if (image_id := self.image_id(CHAINCODE)) and _runs_runtime_image(self):
            told[labels.RUNTIME_ID] = image_id
        return told

    @property
    def has_ended(self) -> bool:
        """Whether its node has told that all of it has ended; it may still be there."""
        running = [status for status in self.containers if not status.is_init]
        return self.phase in ("Failed", "Succeeded") or (
            bool(running) and all(status.termination for status in running)
        )

    def is_running(self, container: str) -> bool:
        """Whether the container's process is there."""
        status = self._status(container)
        return status is not None and status.is_running

    def is_shown_running(self, container: str) -> bool:
        """Whether the process is there, and the Pod's status shows it to everybody."""
        status = self._status(container)
        return status is not None and status.is_running and not status.is_ahead

    def started_at(self, container: str) -> str:
        """When the container's process began, RFC 3339; empty if it has not."""
        status = self._status(container)
        return status.started_at if status else ""

    def exit_of(self, container: str) -> Exit | None:
        """
        How the container ended, or None while it may still run.

        A Pod that failed as a whole (evicted, past its deadline) ends its containers, whether or
        not the kubelet got to say so for each; so does what should have come before, and failed.
        """
        status = self._status(container)
        if status and (end := status.termination):
            reason = self.reason if end.reason in _PLAIN_REASONS else end.reason
            return Exit(end.code, reason, end.finished_at, end.message)
        if self.phase in ("Failed", "Succeeded"):
            return Exit(SIGKILLED, self.reason)
        failed = [each for each in self.containers if each.has_failed_before]
        if failed and not (status and (status.is_init or status.started_at)):
            obstacle = _obstacle(failed[0], container)
            return Exit(SIGKILLED, self.reason or str(obstacle or f"{failed[0].name} failed"))
        return None

    def start_obstacle(self, container: str) -> StartObstacle | None:
        """
        What keeps the container from starting, if the cluster says so.

        It waits for the init containers and for nobody else.
        """
        before = [
            status for status in self.containers if status.name == container or status.is_init
        ]
        found = [obstacle for status in before if (obstacle := _obstacle(status, container))]
        pressing = [obstacle for obstacle in found if obstacle.reason not in _TOLD_LATE]
        return next(iter([*pressing, *found]), self.unscheduled)

    def with_begun(self, container: str, *, at: str) -> "PodStatus":
        """The same Pod, in which a container runs that was not seen to run, nor to have ended."""
        if self.has_begun_alone or any(each.has_failed_before for each in self.containers):
            return self  # whatever began is not what was meant to
        begun = tuple(
            replace(
                status,
                is_running=True,
                is_ahead=True,
                started_at=at,
                waiting_reason="",
                waiting_message="",
            )
            if status.name == container and not status.started_at and not status.termination
            else status
            for status in self.containers
        )
        return replace(self, containers=begun)

    def has_image(self, container: str) -> bool:
        """Whether the node has the container's image: it is pulled before all else is tried."""
        status = self._status(container)
        if status is None:
            return False
        is_begun = status.is_running or status.termination is not None
        return is_begun or status.waiting_reason in _STANDING_SECONDS

    def image_id(self, container: str) -> str:
        """Return the digest of the image that a container has, as its node says it, or nothing."""
        status = self._status(container)
        return status.image_id if status else ""

    def is_prepared(self, container: str) -> bool:
        """Whether all is on the node that the container needs: its image, or what comes before."""
        before = [status for status in self.containers if status.is_init and not status.is_sidecar]
        ends = [status.termination for status in before]
        is_done = bool(ends) and all(end is not None and end.code == 0 for end in ends)
        return is_done or self.has_image(container)

    def last_words(self, container: str) -> str:
        """The termination message of a container, else the reason of its end; empty if neither."""
        status = self._status(container)
        end = status.termination if status else None
        return (end.message or end.reason).strip() if end else ""

    def _status(self, container: str) -> ContainerStatus | None:
        return next((status for status in self.containers if status.name == container), None)


@dataclass(frozen=True, slots=True)
class DamagedPod:
    """An answer of the API server that cannot be read as a Pod, and why."""

    name: str
    cause: str


def read(pod: Manifest) -> PodStatus | DamagedPod:
    """What a Pod says of itself."""
    try:
        return _read(pod)
    except _DAMAGE as error:
        name = str(metadata_of(pod).get("name", ""))
        return DamagedPod(name, f"{type(error).__name__}: {error}")


def _read(pod: Manifest) -> PodStatus:
    metadata = pod.get("metadata") or {}
    status = pod.get("status") or {}
    own, notes = metadata.get("labels") or {}, metadata.get("annotations") or {}
    return PodStatus(
        name=str(metadata.get("name", "")),
        uid=str(metadata.get("uid", "")),
        resource_version=str(metadata.get("resourceVersion", "")),
        kind=shared(own.get(labels.KIND, "")),
        container_label=shared(own.get(labels.CONTAINER, "")),
        record_id=shared(notes.get(labels.ID, "")),
        record_name=shared(notes.get(labels.NAME, "")),
        job=_job(metadata),
        is_copy=_is_copy(metadata),
        created_at=str(metadata.get("creationTimestamp") or ""),
        grace_seconds=_grace_seconds(metadata),
        phase=shared(status.get("phase", "")),
        reason=_pod_reason(status),
        unscheduled=_unscheduled(status),
        containers=tuple(_containers(pod)),
        hosts=_hosts(pod.get("spec") or {}),
        node=shared((pod.get("spec") or {}).get("nodeName") or ""),
        said={key: shared(notes[key]) for key in labels.PROOF if key in notes},
        has_begun_alone=_has_begun_alone(pod),
    )


def _runs_runtime_image(pod: PodStatus) -> bool:
    """Whether its container has the runtime image itself: the layer is delivered to it."""
    return any(status.name == PULLER for status in pod.containers)


def _job(metadata: Mapping[str, Any]) -> ObjectReference | None:
    for owner in metadata.get("ownerReferences") or []:
        if owner["kind"] == "Job":
            return ObjectReference("batch/v1", "Job", owner["name"], owner["uid"])
    return None


def _is_copy(metadata: Mapping[str, Any]) -> bool:
    """
    Whether somebody made the Pod of another one, as `kubectl debug --copy-to` does.

    A copy has all that Peitho knows its Pods by, but neither the name of a build's Pod nor the Job
    of a chaincode's.
    """
    own = metadata.get("labels") or {}
    container = str(own.get(labels.CONTAINER, ""))
    if own.get(labels.KIND) == BUILD:
        return bool(metadata.get("name") != names.build_name(container))
    if own.get(labels.KIND) == CHAINCODE:
        job = _job(metadata)
        if job is None or not job.name.endswith(f"-{container[:8]}"):  # Record.job_name
            return True
        return bool(own.get(_JOB_UID, job.uid) != job.uid)
    return False


def _grace_seconds(metadata: Mapping[str, Any]) -> int | None:
    if not metadata.get("deletionTimestamp"):
        return None
    return int(metadata.get("deletionGracePeriodSeconds") or 0)


def _hosts(spec: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (str(host), str(alias["ip"]))
        for alias in spec.get("hostAliases") or []
        for host in alias.get("hostnames") or []
    )


def _pod_reason(status: Mapping[str, Any]) -> str:
    if _is_node_gone(status):
        return NODE_LOST
    reason, message = status.get("reason") or "", status.get("message") or ""
    return f"{reason}: {message}".strip(": ")


def _is_node_gone(status: Mapping[str, Any]) -> bool:
    return any(
        condition.get("type") == "DisruptionTarget"
        and condition.get("reason") == _BY_POD_GC
        and "node" in str(condition.get("message"))
        for condition in status.get("conditions") or []
    )


def _obstacle(status: ContainerStatus, container: str) -> StartObstacle | None:
    """What a container says of why it, or another one after it, does not start."""
    if status.waiting_reason:
        return _waiting_obstacle(status)
    end = status.termination
    if end is None:
        return None
    if status.name == container and end.reason in _NEVER_BEGAN:
        return StartObstacle(end.reason, f"{status.image}: {end.message}".strip(": "), final=True)
    if status.has_failed_before and status.name != container:
        said = end.message or f"exit {end.code}"
        return StartObstacle(f"{status.name} failed", said, final=True)
    return None


def _waiting_obstacle(status: ContainerStatus) -> StartObstacle | None:
    reason, words = pull_errors.before_back_off(status.waiting_reason, status.waiting_message)
    message = f"{status.image}: {words}".strip(": ")
    if reason in _FINAL:
        return StartObstacle(reason, message, final=True)
    if reason in _PULLS:
        lasting = pull_errors.is_lasting(words)
        return StartObstacle(reason, message, final=lasting, failed_pull=not lasting)
    if reason in _STANDING_SECONDS:
        patience = _STANDING_SECONDS[reason]
        return StartObstacle(reason, message, final=False, patience_seconds=patience)
    if reason in _TOLD_LATE:
        return StartObstacle(reason, f"{status.name}: {words}".strip(": "), final=False)
    return None


def _unscheduled(status: Mapping[str, Any]) -> StartObstacle | None:
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            reason, message = str(condition.get("reason", "")), str(condition.get("message", ""))
            patience = LACK_SECONDS if lacks_object(message) else None
            return StartObstacle(reason, message, final=False, patience_seconds=patience)
    return None


def _containers(pod: Manifest) -> Iterator[ContainerStatus]:
    status, spec = pod.get("status") or {}, pod.get("spec") or {}
    sidecars = {
        container["name"]
        for container in spec.get("initContainers") or []
        if container.get("restartPolicy") == "Always"
    }
    for container in status.get("initContainerStatuses") or []:
        # The Pod's own policy is Never, so nothing else comes again.
        is_sidecar = container["name"] in sidecars or bool(container.get("restartCount"))
        yield _container(container, is_init=True, is_sidecar=is_sidecar)
    beside = [_container(each) for each in status.get("containerStatuses") or []]
    puller = next((each for each in beside if each.name == PULLER), None)
    for each in beside:
        if each is puller:
            yield replace(each, is_init=True)
        elif puller and each.name == CHAINCODE and not _has_brought(puller, each):
            yield _not_begun(each)
        else:
            yield each


def _has_brought(puller: ContainerStatus, chaincode: ContainerStatus) -> bool:
    """
    Whether the puller beside chaincode may have brought the layer before that began.

    A kubelet goes on to chaincode where the puller cannot be made, cannot begin, or dies before it
    has put its file where the layer will be. Later it cannot: there is the layer, or that file. One
    that was killed after its word, in a later second than chaincode began in, has brought it; one
    that began in a later second, or says by its code that it failed, has not.
    """
    end = puller.termination
    if not puller.started_at or (end and end.reason in _NEVER_BEGAN):
        return False
    if _is_later(puller.started_at, _tried_at(chaincode)):
        return False
    if end is None or end.code == 0:
        return True
    if end.code == _PULLER_FAILED:
        return False
    return bool(chaincode.started_at) and _is_later(end.finished_at, chaincode.started_at)


def _tried_at(chaincode: ContainerStatus) -> str:
    """When its process began, or could not be begun: its start is then the year 1970."""
    end = chaincode.termination
    return end.finished_at if end and end.reason in _NEVER_BEGAN else chaincode.started_at


def _is_later(one: str, other: str) -> bool:
    try:
        return datetime.fromisoformat(one) > datetime.fromisoformat(other)
    except (ValueError, TypeError):
        return False


def _not_begun(chaincode: ContainerStatus) -> ContainerStatus:
    """Chaincode as it is before its puller has brought the layer: what ran then was none."""
    return replace(
        chaincode,
        waiting_reason="",
        waiting_message="",
        is_running=False,
        started_at="",
        termination=None,
    )


def _has_begun_alone(pod: Manifest) -> bool:
    """Whether chaincode was begun, though the puller beside it has not brought its layer."""
    found = {
        each.name: each
        for each in map(_container, (pod.get("status") or {}).get("containerStatuses") or [])
    }
    puller, chaincode = found.get(PULLER), found.get(CHAINCODE)
    if puller is None or chaincode is None or _has_brought(puller, chaincode):
        return False
    return chaincode.is_running or chaincode.termination is not None


def _container(
    status: Mapping[str, Any], *, is_init: bool = False, is_sidecar: bool = False
) -> ContainerStatus:
    state = status.get("state") or {}
    waiting, terminated = state.get("waiting") or {}, state.get("terminated")
    began = state.get("running") or terminated or {}
    return ContainerStatus(
        name=shared(status["name"]),
        image=shared(status.get("image", "")),
        is_init=is_init,
        is_sidecar=is_sidecar,
        waiting_reason=str(waiting.get("reason") or ""),
        waiting_message=str(waiting.get("message") or ""),
        is_running="running" in state,
        started_at=shared(began.get("startedAt") or ""),
        termination=_termination(terminated) if terminated else None,
        image_id=shared(status.get("imageID") or ""),
    )


def _termination(terminated: Mapping[str, Any]) -> Termination:
    return Termination(
        code=_exit_code(terminated),
        reason=shared(terminated.get("reason") or ""),
        message=str(terminated.get("message") or "").strip(),
        finished_at=shared(terminated.get("finishedAt") or ""),
    )


def _exit_code(terminated: Mapping[str, Any]) -> int:
    if signal := terminated.get("signal"):
        return 128 + int(signal)
    return int(terminated.get("exitCode", SIGKILLED))
