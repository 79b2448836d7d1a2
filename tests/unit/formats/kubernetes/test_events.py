from peitho.formats.kubernetes.events import event
from peitho.formats.kubernetes.objects import ObjectReference

JOB = ObjectReference("batch/v1", "Job", "j" * 60, "uid-1")


def test_an_event_is_of_exactly_one_object() -> None:
    """
    By its uid; names and messages are cut to what an Event holds.
    """
    made = event(
        JOB, namespace="ns", reason="Why", message="m" * 2000, warning=True, at="2026-01-02"
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
    assert "2026-01-02" == made["firstTimestamp"] == made["lastTimestamp"]
