"""
What a Pod's status says: does a container run, how did it end, what keeps it from starting.

All of it is the cluster's own words; nothing is concluded from a Pod's absence.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Pod = dict[str, Any]

SIGKILLED = 137
# Waiting reasons that no retry of the kubelet will mend.
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


@dataclass(frozen=True, slots=True)
class Exit:
    """
    How a container ended: Docker's exit code, and the cluster's word where it has one.

    `finished_at` is RFC 3339; `log` are the last lines that the container said.
    """

    code: int
    reason: str = ""
    finished_at: str = ""
    log: str = ""


@dataclass(frozen=True, slots=True)
class StartObstacle:
    """What keeps a container from starting; `final` if waiting will not help."""

    reason: str
    message: str
    final: bool

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}" if self.message else self.reason


def running(pod: Pod, container: str) -> bool:
    """Whether the container's process is there."""
    return "running" in _state(pod, container)


def started_at(pod: Pod, container: str) -> str:
    """When the process began, RFC 3339; empty if it has not."""
    state = _state(pod, container)
    at = state.get("running") or state.get("terminated") or {}
    return str(at.get("startedAt") or "")


def ended(pod: Pod, container: str) -> Exit | None:
    """
    How the container ended, or None while it may still run.

    A Pod that failed as a whole (evicted, past its deadline) ends its containers, whether or not
    the kubelet got to say so for each.
    """
    terminated = _state(pod, container).get("terminated")
    status = pod.get("status", {})
    if terminated:
        reason = _reason_of(pod, terminated)
        return Exit(
            _code(terminated),
            reason,
            str(terminated.get("finishedAt") or ""),
            str(terminated.get("message") or "").strip(),
        )
    if status.get("phase") in ("Failed", "Succeeded"):
        return Exit(SIGKILLED, _pod_reason(status))
    return None


def start_obstacle(pod: Pod, container: str) -> StartObstacle | None:
    """What keeps a container from starting, if anything is known to."""
    status = pod.get("status", {})
    for each in _statuses(status):
        waiting = each.get("state", {}).get("waiting", {})
        if (reason := waiting.get("reason")) in _FINAL | _RETRIED:
            message = f"{each['image']}: {waiting.get('message', '')}".strip(": ")
            return StartObstacle(str(reason), message, final=reason in _FINAL)
    if failed := _failed_init(status, container):
        return failed
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            reason, message = condition.get("reason", ""), condition.get("message", "")
            return StartObstacle(str(reason), str(message), final=False)
    return None


def last_words(pod: Pod, container: str) -> str:
    """The termination message of a container, or what is known instead; empty if neither."""
    terminated = _state(pod, container).get("terminated", {})
    return str(terminated.get("message") or terminated.get("reason") or "").strip()


def _failed_init(status: dict[str, Any], container: str) -> StartObstacle | None:
    for each in status.get("initContainerStatuses") or []:
        terminated = each.get("state", {}).get("terminated", {})
        if each["name"] != container and terminated.get("exitCode", 0) != 0:
            said = str(terminated.get("message") or "").strip() or f"exit {_code(terminated)}"
            return StartObstacle(f"{each['name']} failed", said, final=True)
    return None


def _reason_of(pod: Pod, terminated: dict[str, Any]) -> str:
    reason = str(terminated.get("reason") or "")
    if reason in ("Completed", "Error", ""):
        return _pod_reason(pod.get("status", {}))
    return reason


def _pod_reason(status: dict[str, Any]) -> str:
    reason, message = status.get("reason") or "", status.get("message") or ""
    return f"{reason}: {message}".strip(": ")


def _code(terminated: dict[str, Any]) -> int:
    if signal := terminated.get("signal"):
        return 128 + int(signal)
    return int(terminated.get("exitCode", SIGKILLED))


def _state(pod: Pod, container: str) -> dict[str, Any]:
    for each in _statuses(pod.get("status", {})):
        if each["name"] == container:
            state: dict[str, Any] = each.get("state", {})
            return state
    return {}


def _statuses(status: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from status.get("initContainerStatuses") or []
    yield from status.get("containerStatuses") or []
