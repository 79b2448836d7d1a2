"""Objects of the cluster's double, read as Peitho reads them; a damaged one fails the test."""

from collections.abc import Callable
from typing import TypeVar

from peitho.clients.kubernetes.pod_watch import PodWatch, Sighting
from peitho.formats.kubernetes import job_status, pod_status, record_secrets
from peitho.formats.kubernetes.job_status import JobStatus
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.kubernetes.pod_status import PodStatus
from peitho.formats.records import Exit, Record, RecordMetadata

T = TypeVar("T")


def record(secret: Manifest) -> Record:
    """The record that a chaincode's Secret is."""
    found = record_secrets.read(secret)
    assert isinstance(found, Record), found
    return found


def metadata(secret: Manifest) -> RecordMetadata:
    """What a Secret's metadata tell of its record."""
    found = record_secrets.read_metadata(secret)
    assert isinstance(found, RecordMetadata), found
    return found


def job_name(secret: Manifest) -> str:
    """The name of the Job of a Secret's container."""
    return metadata(secret).job_name


def owner(secret: Manifest, uid: str = "uid-job") -> Manifest:
    """The Job of a Secret's container, as its Pod has it for owner."""
    return {"kind": "Job", "name": job_name(secret), "uid": uid}


def noted_exit(secret: Manifest) -> Exit | None:
    """The exit that is on a record."""
    return metadata(secret).exit


def pod(manifest: Manifest) -> PodStatus:
    """What a Pod says of itself."""
    found = pod_status.read(manifest)
    assert isinstance(found, PodStatus), found
    return found


def job(manifest: Manifest) -> JobStatus:
    """What a Job says of itself."""
    found = job_status.read(manifest)
    assert isinstance(found, JobStatus), found
    return found


async def seen(watch: PodWatch, key: str, answer: Callable[[Sighting], T | None]) -> T:
    """What `answer` says of the first sighting of a Pod that it has an answer to."""
    async for sighting in watch.sightings(key):
        if (found := answer(sighting)) is not None:
            return found
    raise AssertionError("sightings of a Pod never end")
