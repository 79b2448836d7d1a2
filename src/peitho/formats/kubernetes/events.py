"""Events, by which `kubectl get events` and `kubectl describe` tell what happened to an object."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from peitho.formats.kubernetes.lacking import LACK_SECONDS, is_refusal, lacks_object
from peitho.formats.kubernetes.objects import Manifest, ObjectReference
from peitho.formats.kubernetes.pod_status import StartObstacle
from peitho.formats.kubernetes.pull_errors import is_lasting

_NAME_CHARACTERS = 50
_MESSAGE_CHARACTERS = 1000
# What a kubelet tells in the moment in which a process began (kuberuntime_container.go).
STARTED = "Started"
_CONTAINER = re.compile(r"spec\.containers\{(?P<name>[a-z0-9-]+)\}")
_FAILED_PULL = "Failed to pull image"
# `Error: ErrImagePull` repeats a status; `Error: secret "x" not found` says what that will say.
_A_REASON = re.compile(r"Error: \w+")
# Beside the many whose reason begins with `Failed`: FailedMount, FailedCreate, FailedScheduling.
_OBSTACLES = frozenset({"InspectFailed", "NetworkNotReady", "Unhealthy"})
# The image may be there, or may be had without it; if not, the failed pull says so.
_HINTS = frozenset({"FailedToRetrieveImagePullSecret"})


def event(  # noqa: PLR0913  an Event is these seven things
    about: ObjectReference,
    *,
    namespace: str,
    reason: str,
    message: str,
    warning: bool,
    at: str,
    labels: Mapping[str, str] | None = None,
) -> Manifest:
    """An Event on an object of a namespace; `at` is RFC 3339."""
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "generateName": f"{about.name[:_NAME_CHARACTERS]}-",
            "labels": dict(labels or {}),
        },
        "involvedObject": {
            "apiVersion": about.api_version,
            "kind": about.kind,
            "name": about.name,
            "uid": about.uid,
            "namespace": namespace,
        },
        "reason": reason,
        "message": message[:_MESSAGE_CHARACTERS],
        "type": "Warning" if warning else "Normal",
        "source": {"component": "peitho"},
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    }


@dataclass(frozen=True, slots=True)
class ToldEvent:
    """What is read of an Event: which object it is about, and what happened to it."""

    kind: str
    name: str
    reason: str
    message: str
    at: str


def read(event: Manifest) -> ToldEvent | None:
    """What an Event says; None if it cannot be read as one."""
    about = event.get("involvedObject")
    if not isinstance(about, dict):
        return None
    series = event.get("series")
    last = series.get("lastObservedTime") if isinstance(series, dict) else None
    at = last or event.get("lastTimestamp") or event.get("eventTime") or ""
    texts = (about.get("kind"), about.get("name"), event.get("reason"), event.get("message"), at)
    return ToldEvent(*(str(text or "") for text in texts))


def begun_container(event: Manifest) -> tuple[str, str, str] | None:
    """The Pod's name, the container and the time of a `Started` event; None if it is no such."""
    told = read(event)
    about = event.get("involvedObject") or {}
    place = _CONTAINER.fullmatch(str(about.get("fieldPath", "")))
    if told is None or told.reason != STARTED or place is None:
        return None
    return told.name, place["name"], told.at


def start_obstacle(told: Sequence[ToldEvent]) -> StartObstacle | None:
    """What the Events of a Pod or Job say of why it does not start, the latest of them."""
    found = [event for event in told if _is_obstacle(event)]
    if not found:
        return None
    last = max(found, key=lambda event: event.at)
    if last.message.startswith(_FAILED_PULL):
        final = is_lasting(last.message)
        return StartObstacle("ErrImagePull", last.message, final=final)
    stays = lacks_object(last.message) or (
        last.reason == "FailedCreate" and is_refusal(last.message)
    )
    patience = LACK_SECONDS if stays else None
    return StartObstacle(last.reason, last.message, final=False, patience_seconds=patience)


def _is_obstacle(event: ToldEvent) -> bool:
    """Whether an Event names what keeps a Pod back, and not only that something does."""
    if event.reason in _HINTS or _A_REASON.fullmatch(event.message):
        return False
    return event.reason.startswith("Failed") or event.reason in _OBSTACLES
