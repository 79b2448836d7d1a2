import pytest

from peitho.formats.kubernetes import job_status
from peitho.formats.kubernetes.job_status import DamagedJob
from peitho.formats.kubernetes.objects import Manifest
from tests.support import typed

AT = "2026-01-02T03:04:05Z"


def job(*conditions: tuple[str, str]) -> Manifest:
    """A Job with conditions: kind and status."""
    told = [
        {"type": kind, "status": status, "lastTransitionTime": AT} for kind, status in conditions
    ]
    metadata = {"name": "j", "uid": "uid-1", "labels": {"peitho/container": "a"}}
    return {"metadata": metadata, "status": {"conditions": told} if told else {}}


@pytest.mark.parametrize(
    ("conditions", "finished_at", "complete"),
    [
        ([], "", False),
        ([("Suspended", "True"), ("Failed", "False")], "", False),
        ([("FailureTarget", "True"), ("Failed", "True")], AT, False),
        ([("SuccessCriteriaMet", "True"), ("Complete", "True")], AT, True),
    ],
)
def test_a_job_is_over_by_its_own_word(
    conditions: list[tuple[str, str]], finished_at: str, *, complete: bool
) -> None:
    """
    A condition that does not hold, or is another, is no end.
    """
    found = typed.job(job(*conditions))

    assert (finished_at, complete) == (found.finished_at, found.is_complete)


def test_a_job_says_whether_it_is_suspended() -> None:
    """
    A webhook may set that, and take it back.
    """
    suspended = job() | {"spec": {"suspend": True}}

    assert typed.job(suspended).is_suspended
    assert not typed.job(job() | {"spec": {"suspend": False}}).is_suspended
    assert not typed.job(job()).is_suspended


def test_a_job_says_whose_it_is() -> None:
    """
    By its label; Events refer to it by its uid.
    """
    found = typed.job(job())

    assert ("j", "a") == (found.name, found.container_label)
    assert ("batch/v1", "Job", "j", "uid-1") == (
        found.reference.api_version,
        found.reference.kind,
        found.reference.name,
        found.reference.uid,
    )


@pytest.mark.parametrize(
    "damaged",
    [
        {},
        {"metadata": None},
        {"metadata": {"name": "j"}, "status": {"conditions": [{}]}},
        {"metadata": {"name": "j"}, "status": {"conditions": ["no"]}},
        {"metadata": {"name": "j", "labels": "no"}},
    ],
)
def test_what_is_no_job_is_told_as_such(damaged: Manifest) -> None:
    """
    And no exception in the middle of a list.
    """
    assert isinstance(job_status.read(damaged), DamagedJob)
