"""Records of containers in the cluster: Secrets are read and written here, and nowhere else."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

import structlog

from peitho.clients.kubernetes.api import Kubernetes
from peitho.errors import PeithoError
from peitho.formats.kubernetes import record_secrets
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.records import DamagedRecord, Exit, Record, RecordMetadata

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Records:
    """The records of one namespace; every call may raise KubernetesError and Unavailable."""

    kubernetes: Kubernetes

    async def create(self, secret: Manifest) -> Record:
        """Create a record, given as its Secret."""
        return _whole(await self.kubernetes.create(secret))

    async def create_build(self, secret: Manifest) -> RecordMetadata:
        """Create the record of a build, given as its Secret."""
        record = record_secrets.read_metadata(await self.kubernetes.create(secret))
        return record if isinstance(record, RecordMetadata) else _refuse(record)

    async def get(self, kubernetes_name: str) -> Record | DamagedRecord | None:
        """Return the record of that name, or None."""
        secret = await self.kubernetes.get("Secret", kubernetes_name)
        return record_secrets.read(secret) if secret else None

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
        secrets = await self.kubernetes.find_metadata("Secret", labels=labels)
        return [record_secrets.read_metadata(secret) for secret in secrets]

    async def add_files(
        self,
        record: Record,
        files: Mapping[str, bytes],
        modes: Mapping[str, int] | None = None,
    ) -> Record:
        """Add files to a record, or replace them, by their paths in the container."""
        patch = record_secrets.files_patch(record, files, modes)
        return _whole(await self.kubernetes.patch("Secret", record.kubernetes_name, patch))

    async def note_exit(self, record: RecordMetadata, end: Exit, *, finished_at: str) -> None:
        """Note how exactly this container ended; a later container of its name is refused."""
        patch = record_secrets.exit_patch(record, end, finished_at=finished_at)
        await self.kubernetes.patch("Secret", record.kubernetes_name, patch)

    async def is_there(self, record: RecordMetadata) -> bool:
        """Whether exactly this record is still there."""
        current = await self.get(record.kubernetes_name)
        return current is not None and current.uid == record.uid

    async def remove(self, record: RecordMetadata | DamagedRecord) -> None:
        """Remove exactly this record, and with it what it owns; it may be gone already."""
        await self.kubernetes.delete("Secret", record.kubernetes_name, uid=record.uid)


def _whole(secret: Manifest) -> Record:
    """Return a record that was just written, as the API server answered."""
    record = record_secrets.read(secret)
    return record if isinstance(record, Record) else _refuse(record)


def _refuse(record: DamagedRecord) -> NoReturn:
    raise PeithoError(
        f"the Secret {record.kubernetes_name} is not as Peitho wrote it; did a webhook change it? "
        f"{record.cause}"
    )
