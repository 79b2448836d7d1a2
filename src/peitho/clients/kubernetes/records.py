"""Records of containers in the cluster: Secrets are read and written here, and nowhere else."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

import structlog

from peitho.clients.kubernetes.api import Kubernetes
from peitho.clients.kubernetes.record_watch import RecordWatch
from peitho.errors import PeithoError
from peitho.formats.kubernetes import record_secrets
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.records import DamagedRecord, Exit, Record, RecordMetadata

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Records:
    """
    The records of one namespace; every call may raise KubernetesError and Unavailable.

    With a watch, what it knows is not asked for.
    """

    kubernetes: Kubernetes
    watch: RecordWatch | None = None

    async def create(self, secret: Manifest) -> Record:
        """Create a record, given as its Secret."""
        return self._noted(await self.kubernetes.create(secret))

    async def create_build(self, secret: Manifest) -> RecordMetadata:
        """Create the record of a build, given as its Secret."""
        record = record_secrets.read_metadata(await self.kubernetes.create(secret))
        return record if isinstance(record, RecordMetadata) else _refuse(record)

    async def get(self, kubernetes_name: str) -> Record | DamagedRecord | None:
        """Return the record of that name, or None."""
        if self.watch and (known := self.watch.whole(kubernetes_name)):
            return known
        secret = await self.kubernetes.get("Secret", kubernetes_name)
        record = record_secrets.read(secret) if secret else None
        if self.watch and record is None:
            self.watch.forget_name(kubernetes_name)
        if self.watch and isinstance(record, Record):
            self.watch.note(record)
        return record

    def lacks(self, kubernetes_name: str) -> bool:
        """Whether no record of that name is ours, for certain; nobody is asked."""
        return self.watch is not None and self.watch.lacks(kubernetes_name)

    async def get_metadata(self, kubernetes_name: str) -> RecordMetadata | DamagedRecord | None:
        """Return the same without what the Secret holds, as the watch tells it where it does."""
        known = self.watch.see(kubernetes_name) if self.watch else None
        return known or await self.get(kubernetes_name)

    async def find(self, labels: Mapping[str, str]) -> list[RecordMetadata]:
        """
        List the records that have the labels, without what their Secrets hold.

        A damaged record is left out and logged: whoever damaged it has to remove it.
        """
        records = await self.find_with_damaged(labels)
        for record in records:
            if isinstance(record, DamagedRecord):
                log.warning(
                    "damaged record is left alone",
                    secret=record.kubernetes_name,
                    cause=record.cause,
                )
        return [record for record in records if isinstance(record, RecordMetadata)]

    async def find_with_damaged(
        self, labels: Mapping[str, str]
    ) -> list[RecordMetadata | DamagedRecord]:
        """List the records that have the labels, damaged ones too."""
        known = self.watch.list() if self.watch and labels == self.watch.labels else None
        if known is not None:
            return known
        found = await self.kubernetes.listed(
            "Secret", record_secrets.read_metadata, labels=labels, metadata_only=True
        )
        return found.items

    async def add_files(
        self,
        record: Record,
        files: Mapping[str, bytes],
        modes: Mapping[str, int] | None = None,
    ) -> Record:
        """Add files to a record, or replace them, by their paths in the container."""
        patch = record_secrets.files_patch(record, files, modes)
        return self._noted(await self.kubernetes.patch("Secret", record.kubernetes_name, patch))

    async def give_access(self, record: Record, *, token: str, ca: str) -> Record:
        """Give a container's Pod, which is yet to be made, another token and CA."""
        patch = record_secrets.access_patch(record, token=token, ca=ca)
        return self._noted(await self.kubernetes.patch("Secret", record.kubernetes_name, patch))

    async def note_exit(self, record: RecordMetadata, end: Exit, *, finished_at: str) -> None:
        """Note how exactly this container ended; a later container of its name is refused."""
        patch = record_secrets.exit_patch(record, end, finished_at=finished_at)
        secret = await self.kubernetes.patch("Secret", record.kubernetes_name, patch)
        noted = record_secrets.read(secret)
        if self.watch and isinstance(noted, Record):
            self.watch.note(noted)

    async def is_there(self, record: RecordMetadata) -> bool:
        """Whether exactly this record is still there."""
        current = await self.get(record.kubernetes_name)
        return current is not None and current.uid == record.uid

    async def remove(self, record: RecordMetadata | DamagedRecord) -> None:
        """Remove exactly this record, and with it what it owns; it may be gone already."""
        if self.watch is None:
            await self.kubernetes.delete("Secret", record.kubernetes_name, uid=record.uid)
            return
        with self.watch.removing(record):
            await self.kubernetes.delete("Secret", record.kubernetes_name, uid=record.uid)
        self.watch.forget(record)

    def _noted(self, secret: Manifest) -> Record:
        """Return a record that was just written, as the API server answered."""
        record = record_secrets.read(secret)
        if not isinstance(record, Record):
            _refuse(record)
        if self.watch:
            self.watch.note(record)
        return record


def _refuse(record: DamagedRecord) -> NoReturn:
    raise PeithoError(
        f"the Secret {record.kubernetes_name} is not as Peitho wrote it; did a webhook change it? "
        f"{record.cause}"
    )
