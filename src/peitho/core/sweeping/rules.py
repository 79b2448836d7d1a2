"""
The rules of a sweep: what is removed, and why. They see a snapshot, and nothing else.

Only objects with Peitho's own labels count, and what is starting is never removed.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from peitho.core.clock import unix_seconds
from peitho.formats.kubernetes import labels
from peitho.formats.kubernetes.job_status import JobStatus
from peitho.formats.kubernetes.pod_status import PodStatus
from peitho.formats.records import CHAINCODE, RecordMetadata

# A peer starts a container soon after it has created it; until then only the record is there.
_UNSTARTED_SECONDS = 600.0
# What reading a time raises that somebody else has written.
_DAMAGE = (ValueError, OverflowError, TypeError)


@dataclass(frozen=True, slots=True)
class RetentionOptions:
    """How long things are kept; an `images_limit_bytes` of 0 is no limit."""

    retention_seconds: float
    orphan_after_seconds: float
    images_retention_seconds: float
    images_limit_bytes: int
    start_timeout_seconds: float = 0.0

    @property
    def unstarted_seconds(self) -> float:
        """How long what was never started, or still starts, is left alone."""
        return max(self.retention_seconds, _UNSTARTED_SECONDS, 2 * self.start_timeout_seconds)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """
    What a sweep saw: records, Pods and Jobs of a namespace; times are Unix seconds.

    `refused_since` tells since when a peer's address has refused every connection; `asked` is that
    address by the ID of a container, where it is not the one of its record; `waited` are the IDs of
    containers that a peer waits for.
    """

    now: float
    instance: str
    records: Sequence[RecordMetadata] = ()
    pods: Sequence[PodStatus] = ()
    jobs: Sequence[JobStatus] = ()
    refused_since: Mapping[str, float] = field(default_factory=dict)
    asked: Mapping[str, str] = field(default_factory=dict)
    waited: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Removal:
    """A container to be removed, and why."""

    record: RecordMetadata
    why: str


@dataclass(frozen=True, slots=True)
class Undecided:
    """A container of which nobody can tell whether it is to be removed, and why not."""

    record: RecordMetadata
    cause: str


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image as a sweep sees it; `seen_at` is when its peer was last seen, in Unix seconds."""

    name: str
    bytes: int
    used_at: float
    seen_at: float


def chaincode(world: Snapshot, policy: RetentionOptions) -> Iterator[Removal | Undecided]:
    """Return the chaincode containers to be removed; one that is damaged spoils no other."""
    wanted = labels.kind_labels(world.instance, CHAINCODE)
    pods = {pod.container_label: pod for pod in world.pods}
    jobs = {job.container_label: job for job in world.jobs}
    for record in world.records:
        if wanted.items() <= record.labels.items():
            label = labels.container_label(record.id)
            try:
                why = _why(record, pods.get(label), jobs.get(label), world, policy)
            except _DAMAGE as error:
                yield Undecided(record, f"{type(error).__name__}: {error}")
                continue
            if why:
                yield Removal(record, why)


def images(
    stored: Sequence[StoredImage], in_use: Collection[str], now: float, policy: RetentionOptions
) -> Iterator[tuple[StoredImage, str]]:
    """
    Return the images to be removed, and why.

    That no container has an image is no reason: an installed package that was never launched has
    none, and a running peer will not build it again.
    """
    left = []
    for image in stored:
        unseen = now - max(image.seen_at, image.used_at)
        if image.name not in in_use and unseen > policy.images_retention_seconds:
            yield image, f"its peer has not been seen for {unseen / 86400:.0f} days"
        else:
            left.append(image)
    total = sum(image.bytes for image in left)
    for image in sorted(left, key=lambda kept: kept.used_at):
        if not policy.images_limit_bytes or total <= policy.images_limit_bytes:
            return
        if image.name not in in_use:
            total -= image.bytes
            yield image, f"the store holds more than {policy.images_limit_bytes} bytes"


def _why(
    record: RecordMetadata,
    pod: PodStatus | None,
    job: JobStatus | None,
    world: Snapshot,
    policy: RetentionOptions,
) -> str:
    if record.exit:
        return _over(unix_seconds(record.exit.finished_at), world, policy)
    if pod is not None:
        began = pod.started_at(CHAINCODE)
        if not began and not pod.exit_of(CHAINCODE):
            return _stuck(pod.created_at, "its Pod has not started", world, policy)
        if not pod.is_running(CHAINCODE):
            return ""  # its end is about to be noted
        return _orphaned(record, unix_seconds(began), world, policy)
    if job is not None:
        if job.finished_at:
            return _over(unix_seconds(job.finished_at), world, policy)
        return _stuck(job.created_at, "its Job has had no Pod", world, policy)
    age = world.now - unix_seconds(record.created)
    return f"created {age:.0f} s ago and never started" if age > policy.unstarted_seconds else ""


def _stuck(created_at: str, what: str, world: Snapshot, policy: RetentionOptions) -> str:
    """Why something goes whose start has ended long ago, with Peitho itself for instance."""
    age = world.now - unix_seconds(created_at) if created_at else 0.0
    return f"{what} for {age:.0f} s" if age > policy.unstarted_seconds else ""


def _over(ended_at: float, world: Snapshot, policy: RetentionOptions) -> str:
    if world.now - ended_at <= policy.retention_seconds:
        return ""
    return f"over for {world.now - ended_at:.0f} s"


def _orphaned(
    record: RecordMetadata, began: float, world: Snapshot, policy: RetentionOptions
) -> str:
    peer = world.asked.get(record.id, record.peer_address)
    if peer not in world.refused_since or record.id in world.waited:
        return ""
    since = max(began, world.refused_since[peer])  # a young process is still starting
    if world.now - since <= policy.orphan_after_seconds:
        return ""
    return (
        f"its peer at {record.peer_address} has refused connections for {world.now - since:.0f} s"
    )
