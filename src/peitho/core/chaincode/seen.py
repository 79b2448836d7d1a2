"""Chaincode as its record and its Pod tell of it, for whoever shows it."""

from dataclasses import dataclass
from typing import Any, Self

from peitho.clients.kubernetes.pod_watch import PodWatch
from peitho.core.chaincode.process import summary
from peitho.core.container import State
from peitho.formats.kubernetes import labels
from peitho.formats.kubernetes.pod_status import PodStatus
from peitho.formats.records import CHAINCODE, DamagedRecord, RecordMetadata


@dataclass(frozen=True, slots=True)
class Chaincode:
    """One chaincode container: its record, and its Pod if there is one."""

    record: RecordMetadata | DamagedRecord
    pod: PodStatus | None
    state: State | None

    @classmethod
    def of(cls, record: RecordMetadata | DamagedRecord, watch: PodWatch) -> Self:
        """Put together what a record and the watch of Pods tell."""
        if isinstance(record, DamagedRecord):
            return cls(record, None, None)
        sighting = watch.see(labels.container_label(record.id))
        pod = None if sighting.gone else sighting.pod
        return cls(record, pod, summary(record, watch).state)

    @property
    def name(self) -> str:
        """Docker's name; that of the Secret where the record is damaged."""
        record = self.record
        return record.kubernetes_name if isinstance(record, DamagedRecord) else record.name

    @property
    def id(self) -> str:
        """The container's ID; the Secret's uid where the record is damaged."""
        return self.record.uid if isinstance(self.record, DamagedRecord) else self.record.id

    @property
    def phase(self) -> str:
        """`created`, `starting`, `running`, `exited`, or `damaged`."""
        if self.state is None:
            return "damaged"
        is_begun = self.state.status == "created" and self.pod is not None
        return "starting" if is_begun else self.state.status

    @property
    def reason(self) -> str:
        """Why it ended, or what keeps it from starting."""
        if isinstance(self.record, DamagedRecord):
            return self.record.cause
        if self.pod and self.phase == "starting":
            return str(self.pod.start_obstacle(CHAINCODE) or "")
        return self.state.reason if self.state else ""

    def row(self) -> dict[str, Any]:
        """All of it, for whoever shows it."""
        record, state = self.record, self.state or State("")
        known = record if isinstance(record, RecordMetadata) else None
        return {
            "name": self.name,
            "id": self.id,
            "package": record.labels.get(labels.PACKAGE_ID, ""),
            "mspId": record.labels.get(labels.MSP_ID, ""),
            "peer": known.peer_address if known else "",
            "phase": self.phase,
            "reason": self.reason,
            "exitCode": state.exit_code if state.status == "exited" else None,
            "created": known.created if known else "",
            "started": state.started_at,
            "finished": state.finished_at,
            "image": known.image if known else "",
            "secret": record.kubernetes_name,
            "job": known.job_name if known else "",
            "pod": self.pod.name if self.pod else "",
            "node": self.pod.node if self.pod else "",
        }
