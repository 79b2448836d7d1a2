"""
The record of a peer's container, from create to remove, and what the peer asked for.

How a record is kept in the cluster, as a Secret, is in `kubernetes/record_secrets.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

CHAINCODE = "chaincode"
BUILD = "build"
# The container of a Pod that brings a chaincode's layer before that begins.
PULLER = "puller"

# Docker's exit code of a process that was killed.
SIGKILLED = 137

# The kubelet's and Docker's own words for two kinds of ends.
OUT_OF_MEMORY = "OOMKilled"
DEADLINE_EXCEEDED = "DeadlineExceeded"

# Docker's own period where a CPU quota comes without one, in microseconds.
_PERIOD_MICROSECONDS = 100_000
_NANO_PER_MILLI = 1_000_000
# A container with 1024 shares is to get as much as one that asks for a CPU.
_SHARES_PER_CPU = 1024


@dataclass(frozen=True, slots=True)
class HostConfig:
    """The part of Docker's HostConfig that Kubernetes has an equivalent of; 0 is "not set"."""

    memory_bytes: int = 0
    nano_cpus: int = 0
    cpu_shares: int = 0
    cpu_quota: int = 0
    cpu_period: int = 0
    shm_bytes: int = 0

    @property
    def cpu_limit_millis(self) -> int:
        """The CPU limit in thousandths of a CPU; NanoCpus is what Docker makes a quota of."""
        if self.nano_cpus > 0:
            return _rounded_up(self.nano_cpus, _NANO_PER_MILLI)
        if self.cpu_quota > 0:
            period = self.cpu_period if self.cpu_period > 0 else _PERIOD_MICROSECONDS
            return _rounded_up(self.cpu_quota * 1000, period)
        return 0

    @property
    def cpu_request_millis(self) -> int:
        """The CPU request in thousandths of a CPU, as the shares ask for it."""
        return _rounded_up(self.cpu_shares * 1000, _SHARES_PER_CPU) if self.cpu_shares > 0 else 0


UNLIMITED = HostConfig()


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """What the peer asked for at create; `auto_remove` is `docker run --rm`."""

    image: str
    command: tuple[str, ...]
    entrypoint: tuple[str, ...]
    env: tuple[str, ...]
    host: HostConfig = UNLIMITED
    working_directory: str = ""
    auto_remove: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Exit:
    """
    How a container ended: Docker's exit code, and the cluster's reason where it gives one.

    `finished_at` is RFC 3339; `log` holds the last lines that the container wrote.
    """

    code: int
    reason: str = ""
    finished_at: str = ""
    log: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordMetadata:
    """
    What a list tells of a record; `spec` and files are read with the whole `Record`.

    `kubernetes_name` and `uid` are its Secret's, `created` is RFC 3339, `peer_address` is the
    `HOST:PORT` at which the chaincode calls its peer, and `exit` is None until the container ended.
    `labels` are Peitho's own, `asked_labels` those that were asked for at create.
    """

    kind: str
    id: str
    name: str
    kubernetes_name: str
    uid: str
    resource_version: str
    labels: Mapping[str, str]
    image: str
    command: str
    created: str
    peer_address: str
    exit: Exit | None
    asked_labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def shown_labels(self) -> dict[str, str]:
        """The labels as Docker's clients see them; Peitho's own cannot be replaced."""
        return dict(self.asked_labels) | dict(self.labels)

    @property
    def job_name(self) -> str:
        """The name of the container's Job; no launch ever uses the name of another."""
        return f"{self.kubernetes_name}-{self.id[:8]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record(RecordMetadata):
    """
    A record as it was read, whole.

    `files` are the files that the peer uploaded: path in the container to key in the Secret.
    `modes` has the permissions of each that was uploaded with some. `variables` are the names of
    those whose value has a key, too. Its Pod calls Peitho with `token`, and trusts `ca`.
    """

    spec: ContainerSpec
    files: Mapping[str, str]
    variables: Mapping[str, str] = field(default_factory=dict)
    modes: Mapping[str, int] = field(default_factory=dict)
    token: str = field(default="", repr=False)
    ca: str = ""

    @property
    def metadata(self) -> RecordMetadata:
        """The part that a list tells."""
        return RecordMetadata(**{name: getattr(self, name) for name in _METADATA})


_METADATA = tuple(each.name for each in fields(RecordMetadata))


@dataclass(frozen=True, slots=True)
class DamagedRecord:
    """A record that cannot be read, and why: most often somebody else has written on it."""

    kubernetes_name: str
    uid: str
    labels: Mapping[str, str]
    cause: str


def _rounded_up(value: int, unit: int) -> int:
    return -(-value // unit)
