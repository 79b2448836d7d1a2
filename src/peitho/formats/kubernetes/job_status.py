"""What is read of a Job: whose it is, and whether it is over."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from peitho.formats.kubernetes import labels
from peitho.formats.kubernetes.objects import Manifest, ObjectReference, metadata_of

_DAMAGE = (ValueError, KeyError, TypeError, AttributeError)


@dataclass(frozen=True, slots=True)
class JobStatus:
    """
    What is read of the Job of one container.

    Times are RFC 3339. `finished_at` is when it was over by its own word, empty until then, and
    `is_complete` if it is over since its process exited with 0. While it `is_suspended`, nobody
    makes its Pod. It `awaits_pod` if it has none, had none, and may get one.
    """

    name: str
    uid: str
    container_label: str
    created_at: str
    finished_at: str
    is_complete: bool
    is_suspended: bool = False
    awaits_pod: bool = False

    @property
    def reference(self) -> ObjectReference:
        """The Job, as Events refer to it."""
        return ObjectReference("batch/v1", "Job", self.name, self.uid)


@dataclass(frozen=True, slots=True)
class DamagedJob:
    """An answer of the API server that cannot be read as a Job, and why."""

    name: str
    cause: str


def read(job: Manifest) -> JobStatus | DamagedJob:
    """What a Job says of itself."""
    metadata = metadata_of(job)
    try:
        return JobStatus(
            name=str(metadata["name"]),
            uid=str(metadata.get("uid", "")),
            container_label=str((metadata.get("labels") or {}).get(labels.CONTAINER, "")),
            created_at=str(metadata.get("creationTimestamp") or ""),
            finished_at=_finished_at(job),
            is_complete=any(condition["type"] == "Complete" for condition in _met(job)),
            is_suspended=bool((job.get("spec") or {}).get("suspend")),
            awaits_pod=not (_finished_at(job) or _had_pod(job)),
        )
    except _DAMAGE as error:
        return DamagedJob(str(metadata.get("name", "")), f"{type(error).__name__}: {error}")


def _finished_at(job: Manifest) -> str:
    for condition in _met(job):
        if condition["type"] in ("Complete", "Failed"):
            return str(condition["lastTransitionTime"])
    return ""


def _had_pod(job: Manifest) -> bool:
    status = job.get("status") or {}
    return any(status.get(each) for each in ("active", "succeeded", "failed"))


def _met(job: Manifest) -> list[Mapping[str, Any]]:
    """The conditions that hold."""
    conditions = (job.get("status") or {}).get("conditions") or []
    return [condition for condition in conditions if condition["status"] == "True"]
