from typing import Any

import pytest

from peitho.formats.kubernetes import events
from peitho.formats.kubernetes.events import event
from peitho.formats.kubernetes.objects import ObjectReference

JOB = ObjectReference("batch/v1", "Job", "j" * 60, "uid-1")


def test_an_event_is_of_exactly_one_object() -> None:
    """
    By its uid; names and messages are cut to what an Event holds.
    """
    made = event(
        JOB,
        namespace="ns",
        reason="Why",
        message="m" * 2000,
        warning=True,
        at="2026-01-02",
        labels={"app.kubernetes.io/managed-by": "peitho"},
    )

    assert {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": "j" * 60,
        "uid": "uid-1",
        "namespace": "ns",
    } == made["involvedObject"]
    assert ("Warning", "Why", 1000) == (made["type"], made["reason"], len(made["message"]))
    assert f"{'j' * 50}-" == made["metadata"]["generateName"]
    assert {"app.kubernetes.io/managed-by": "peitho"} == made["metadata"]["labels"]
    assert "2026-01-02" == made["firstTimestamp"] == made["lastTimestamp"]


def told(reason: str, message: str, **more: Any) -> events.ToldEvent:
    """An Event on a Pod as it is read."""
    found = events.read(
        {"involvedObject": {"kind": "Pod", "name": "p"}, "reason": reason, "message": message}
        | more
    )
    assert found is not None
    return found


@pytest.mark.parametrize(
    "times",
    [
        {"lastTimestamp": "2026"},
        {"eventTime": "2026"},
        {"lastTimestamp": None, "eventTime": "2026"},
        {"eventTime": "2025", "series": {"lastObservedTime": "2026"}},
    ],
)
def test_an_event_is_as_old_as_its_last_sighting(times: dict[str, Any]) -> None:
    """
    Old and new components write different fields.
    """
    assert "2026" == told("FailedMount", "why", **times).at


@pytest.mark.parametrize("damaged", [{}, {"involvedObject": None}, {"involvedObject": "p"}])
def test_what_is_no_event_says_nothing(damaged: dict[str, Any]) -> None:
    """
    The others are read all the same.
    """
    assert events.read(damaged) is None


def test_ordinary_events_keep_nothing_back() -> None:
    """
    Nor do those that repeat what a status says.
    """
    ordinary = [
        told("Scheduled", "to node"),
        told("Pulling", "image"),
        told("BackOff", "Back-off pulling image"),
        told("Failed", "Error: ErrImagePull"),
        told("FailedToRetrieveImagePullSecret", "mine"),
    ]

    assert events.start_obstacle(ordinary) is None


@pytest.mark.parametrize(
    ("reason", "message", "patience_seconds"),
    [
        ("FailedMount", 'configmap "mine" not found', 5),
        ("FailedMount", "timed out", None),
        ("FailedCreate", "is forbidden: exceeded quota: q", 5),
        ("FailedCreate", "failed calling webhook", None),
        ("FailedScheduling", "Insufficient cpu", None),
        ("Failed", 'Error: secret "mine" not found', 5),
        ("Failed", "Error: container has runAsNonRoot and image will run as root", 5),
        ("Failed", "Error: failed to create containerd task: busy", None),
        ("NetworkNotReady", "network is not ready", None),
        ("Unhealthy", "Startup probe failed", None),
    ],
)
def test_what_keeps_a_pod_back_is_told_with_its_reason(
    reason: str, message: str, patience_seconds: float | None
) -> None:
    """
    What somebody has to bring, or has refused, may not stand for long.
    """
    found = events.start_obstacle([told(reason, message)])

    assert found is not None
    assert f"{reason}: {message}" == str(found)
    assert patience_seconds == found.patience_seconds


@pytest.mark.parametrize(
    ("words", "final"), [("manifest unknown", True), ("429 Too Many Requests", False)]
)
def test_a_failed_pull_has_its_cause_in_an_event(words: str, *, final: bool) -> None:
    """
    Where the status tells of a pause alone.
    """
    found = events.start_obstacle([told("Failed", f'Failed to pull image "i:1": {words}')])

    assert found is not None
    assert f'ErrImagePull: Failed to pull image "i:1": {words}' == str(found)
    assert final is found.final


@pytest.mark.parametrize("path", ["", "spec.initContainers{a}", "spec.containers{a}{b}", "a"])
def test_a_process_is_of_a_container(path: str) -> None:
    """
    Of one that the Event names.
    """
    about = {"kind": "Pod", "name": "p", "fieldPath": path}
    told = {"involvedObject": about, "reason": "Started", "lastTimestamp": "2026"}

    assert events.begun_container(told) is None
    about["fieldPath"] = "spec.containers{a}"
    assert ("p", "a", "2026") == events.begun_container(told)
    assert events.begun_container(told | {"reason": "Created"}) is None
