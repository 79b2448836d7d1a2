"""
What is read of a Pod: whose it is, and what its status says of its containers.

All of it is the cluster's own words; nothing is concluded from a Pod's absence.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from peitho.formats.kubernetes import labels
from peitho.formats.kubernetes.objects import Manifest, ObjectReference, metadata_of
from peitho.formats.records import SIGKILLED, Exit

# Reasons for which a container waits that no retry of the kubelet will mend.
_FINAL = frozenset({"InvalidImageName", "ErrImageNeverPull"})
# Those it tries again, with growing pauses: the third sighting of one is taken for an answer.
_RETRIED = frozenset(
    {
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImagePull",
        "ImagePullBackOff",
        "ImageInspectError",
        "RegistryUnavailable",
        "RunContainerError",
    }
)
# Exit reasons that tell nothing which the exit code does not tell.
_PLAIN_REASONS = ("Completed", "Error", "")
# What reading raises where the API server's answer is not a Pod.
_DAMAGE = (ValueError, KeyError, TypeError, AttributeError)


@dataclass(frozen=True, slots=True)
class StartObstacle:
    """What keeps a container from starting; `final` if waiting will not help."""

    reason: str
    message: str
    final: bool

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}" if self.message else self.reason


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
    container waits.
    """

    name: str
    image: str
    is_init: bool
    waiting_reason: str
    waiting_message: str
    is_running: bool
    started_at: str
    termination: Termination | None


@dataclass(frozen=True, slots=True)
class PodStatus:
    """
    What is read of one Pod of ours.

    `container_label` is the label by which the Pod of a container is known; `record_id` and
    `record_name` are those of the container's record, empty where the Pod does not say them.
    """

    name: str
    resource_version: str
    kind: str
    container_label: str
    record_id: str
    record_name: str
    job: ObjectReference | None
    phase: str
    reason: str
    unscheduled: StartObstacle | None
    containers: tuple[ContainerStatus, ...]

    def is_running(self, container: str) -> bool:
        """Whether the container's process is there."""
        status = self._status(container)
        return status is not None and status.is_running

    def started_at(self, container: str) -> str:
        """When the container's process began, RFC 3339; empty if it has not."""
        status = self._status(container)
        return status.started_at if status else ""

    def exit_of(self, container: str) -> Exit | None:
        """
        How the container ended, or None while it may still run.

        A Pod that failed as a whole (evicted, past its deadline) ends its containers, whether or
        not the kubelet got to say so for each.
        """
        status = self._status(container)
        if status and (end := status.termination):
            reason = self.reason if end.reason in _PLAIN_REASONS else end.reason
            return Exit(end.code, reason, end.finished_at, end.message)
        if self.phase in ("Failed", "Succeeded"):
            return Exit(SIGKILLED, self.reason)
        return None

    def start_obstacle(self, container: str) -> StartObstacle | None:
        """What keeps the container from starting, if the cluster says so."""
        for status in self.containers:
            if (reason := status.waiting_reason) in _FINAL | _RETRIED:
                message = f"{status.image}: {status.waiting_message}".strip(": ")
                return StartObstacle(reason, message, final=reason in _FINAL)
        return self._failed_init(container) or self.unscheduled

    def last_words(self, container: str) -> str:
        """The termination message of a container, else the reason of its end; empty if neither."""
        status = self._status(container)
        end = status.termination if status else None
        return (end.message or end.reason).strip() if end else ""

    def _status(self, container: str) -> ContainerStatus | None:
        return next((status for status in self.containers if status.name == container), None)

    def _failed_init(self, container: str) -> StartObstacle | None:
        for status in self.containers:
            end = status.termination
            if status.is_init and status.name != container and end and end.code:
                said = end.message or f"exit {end.code}"
                return StartObstacle(f"{status.name} failed", said, final=True)
        return None


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
        resource_version=str(metadata.get("resourceVersion", "")),
        kind=str(own.get(labels.KIND, "")),
        container_label=str(own.get(labels.CONTAINER, "")),
        record_id=str(notes.get(labels.ID, "")),
        record_name=str(notes.get(labels.NAME, "")),
        job=_job(metadata),
        phase=str(status.get("phase", "")),
        reason=_pod_reason(status),
        unscheduled=_unscheduled(status),
        containers=tuple(_containers(status)),
    )


def _job(metadata: Mapping[str, Any]) -> ObjectReference | None:
    for owner in metadata.get("ownerReferences") or []:
        if owner["kind"] == "Job":
            return ObjectReference("batch/v1", "Job", owner["name"], owner["uid"])
    return None


def _pod_reason(status: Mapping[str, Any]) -> str:
    reason, message = status.get("reason") or "", status.get("message") or ""
    return f"{reason}: {message}".strip(": ")


def _unscheduled(status: Mapping[str, Any]) -> StartObstacle | None:
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            reason, message = condition.get("reason", ""), condition.get("message", "")
            return StartObstacle(str(reason), str(message), final=False)
    return None


def _containers(status: Mapping[str, Any]) -> Iterator[ContainerStatus]:
    for container in status.get("initContainerStatuses") or []:
        yield _container(container, is_init=True)
    for container in status.get("containerStatuses") or []:
        yield _container(container, is_init=False)


def _container(status: Mapping[str, Any], *, is_init: bool) -> ContainerStatus:
    state = status.get("state") or {}
    waiting, terminated = state.get("waiting") or {}, state.get("terminated")
    began = state.get("running") or terminated or {}
    return ContainerStatus(
        name=str(status["name"]),
        image=str(status.get("image", "")),
        is_init=is_init,
        waiting_reason=str(waiting.get("reason") or ""),
        waiting_message=str(waiting.get("message") or ""),
        is_running="running" in state,
        started_at=str(began.get("startedAt") or ""),
        termination=_termination(terminated) if terminated else None,
    )


def _termination(terminated: Mapping[str, Any]) -> Termination:
    return Termination(
        code=_exit_code(terminated),
        reason=str(terminated.get("reason") or ""),
        message=str(terminated.get("message") or "").strip(),
        finished_at=str(terminated.get("finishedAt") or ""),
    )


def _exit_code(terminated: Mapping[str, Any]) -> int:
    if signal := terminated.get("signal"):
        return 128 + int(signal)
    return int(terminated.get("exitCode", SIGKILLED))
