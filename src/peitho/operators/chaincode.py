"""
Chaincode, as its Kubernetes objects tell of it: the records' metadata, Pods, Events.

Nothing of Peitho is asked, so it works from wherever the Kubernetes API is reached, and also while
Peitho is down.  What the Secrets hold is not read.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from peitho.clients.kubernetes.api import Kubernetes, Listing
from peitho.clients.kubernetes.pod_watch import PodWatch
from peitho.core.chaincode.seen import Chaincode
from peitho.errors import InvalidArgument, NotFound, PeithoError
from peitho.formats.kubernetes import events, labels, pod_status, record_secrets
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.kubernetes.pod_status import PodStatus
from peitho.formats.records import CHAINCODE, DamagedRecord, RecordMetadata
from peitho.operators.showing import Column, Row, age, column

# The name of a build's Pod and Secret (`formats/kubernetes/names.py`).
_BUILD = re.compile(r"build-[0-9a-f]{12}")

COLUMNS = (
    column("CHAINCODE", "package", is_cut=True),
    column("MSP", "mspId", is_cut=True),
    column("PEER", "peer", is_cut=True),
    column("PHASE", "phase"),
    column("EXIT", "exitCode"),
    Column("AGE", lambda row: age(row.get("started") or row.get("created"))),
    column("REASON", "reason", is_cut=True),
    column("NODE", "node", is_wide=True),
    column("POD", "pod", is_wide=True),
    column("IMAGE", "image", is_wide=True),
    column("NAME", "name"),
)
EVENT_COLUMNS = (
    Column("AGE", lambda row: age(row.get("at"))),
    column("TYPE", "type"),
    column("REASON", "reason"),
    column("OBJECT", "object"),
    column("MESSAGE", "message"),
)


@dataclass(frozen=True, slots=True)
class Cluster:
    """The chaincode of one Peitho in one namespace; `watch` has the Pods as last listed."""

    kubernetes: Kubernetes
    instance: str
    watch: PodWatch

    @classmethod
    def of(cls, kubernetes: Kubernetes, instance: str) -> "Cluster":
        """Look at a namespace."""
        own = labels.kind_labels(instance, CHAINCODE)
        return cls(kubernetes, instance, PodWatch(kubernetes, labels=own))

    async def chaincode(self) -> list[Chaincode]:
        """List all of it, by name. Raises KubernetesError, Unavailable."""
        own = labels.kind_labels(self.instance, CHAINCODE)
        records = await self.kubernetes.listed(
            "Secret", record_secrets.read_metadata, labels=own, metadata_only=True
        )
        pods = await self.kubernetes.listed("Pod", pod_status.read, labels=own)
        ours: list[PodStatus | None] = [
            pod for pod in pods.items if isinstance(pod, PodStatus) and not pod.is_copy
        ]
        await self.watch.replace(Listing(ours, pods.version))
        seen = (Chaincode.of(record, self.watch) for record in records.items)
        return sorted(seen, key=lambda found: found.name)

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """Follow the Pods for as long as this lasts, so that their ends are seen."""
        try:
            async with asyncio.TaskGroup() as group:
                task = group.create_task(self.watch.run(), name="pod watch")
                try:
                    yield
                finally:
                    task.cancel()
        except* PeithoError as raised:
            raise raised.exceptions[0] from None

    async def find(self, asked: str) -> Chaincode:
        """
        Find one by its name, ID, beginning of an ID, or a part of its name that no other has.

        Raises NotFound, InvalidArgument where several are meant.
        """
        found = await self.chaincode() if asked else []  # nothing is a part of every name
        exactly = [each for each in found if asked in (each.name, each.id)]
        by_id = [each for each in found if len(asked) >= 4 and each.id.startswith(asked)]  # noqa: PLR2004  a few digits meet by chance
        by_part = [each for each in found if asked in each.name]
        for matching in (exactly, by_id, by_part):
            if len(matching) == 1:
                return matching[0]
            if matching:
                names = ", ".join(each.name for each in matching[:5])
                raise InvalidArgument(f"{asked} may be any of {len(matching)}: {names}")
        raise NotFound(
            f"No chaincode {asked or repr(asked)} in namespace {self.kubernetes.namespace}: `ps` "
            "lists what there is; another namespace is -n, another Peitho --instance"
        )

    async def events(self, of: Chaincode | None = None) -> list[Row]:
        """Return what happened to chaincode and builds, the oldest first, or to one of them."""
        found = [of] if of else await self.chaincode()
        names = {name for each in found for name in _names(each.record)}
        told = await self.kubernetes.listed("Event", _event_row)
        rows = [row for row in told.items if row and _is_of(row, names, builds=of is None)]
        return sorted(rows, key=lambda row: str(row["at"]))


def _names(record: RecordMetadata | DamagedRecord) -> Iterator[str]:
    """The names of a container's Secret and Job; a Pod has its Job's, and five letters."""
    yield record.kubernetes_name
    if isinstance(record, RecordMetadata):
        yield record.job_name


def _is_of(row: Row, names: Collection[str], *, builds: bool) -> bool:
    name = str(row["object"]).partition("/")[2]
    is_build = builds and _BUILD.fullmatch(name) is not None
    return is_build or name in names or name.rpartition("-")[0] in names


def _event_row(event: Manifest) -> Row | None:
    told = events.read(event)
    if told is None:
        return None
    return {
        "at": told.at,
        "type": str(event.get("type") or ""),
        "reason": told.reason,
        "object": f"{told.kind}/{told.name}",
        "name": str((event.get("metadata") or {}).get("name") or ""),
        "message": told.message,
    }
