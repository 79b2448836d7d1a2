"""A chaincode container whose record is damaged: it can be removed, and nothing else."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from peitho.clients.kubernetes.records import Records
from peitho.core.container import Archive, Details, OutputOptions, Said, State
from peitho.errors import PeithoError
from peitho.formats.records import DamagedRecord


@dataclass(frozen=True, slots=True)
class DamagedContainer:
    """
    A container whose Secret somebody else has changed, so that Peitho cannot read it.

    A peer that launches its chaincode again removes the container first, and so repairs it.
    """

    records: Records
    record: DamagedRecord

    @property
    def id(self) -> str:
        """The uid of the Secret, since the container's own ID cannot be read."""
        return self.record.uid

    async def put_archive(self, path: str, chunks: AsyncIterator[bytes]) -> None:
        """Raise PeithoError that tells what is wrong."""
        del path, chunks
        raise self._error()

    async def get_archive(self, path: str) -> Archive:
        """Raise PeithoError that tells what is wrong."""
        del path
        raise self._error()

    async def start(self) -> bool:
        """Raise PeithoError that tells what is wrong."""
        raise self._error()

    async def stop(self) -> bool:
        """Raise PeithoError that tells what is wrong."""
        raise self._error()

    async def wait(self, condition: str = "") -> State:
        """Raise PeithoError that tells what is wrong."""
        del condition
        raise self._error()

    def output(self, options: OutputOptions) -> Said:
        """Raise PeithoError that tells what is wrong."""
        del options
        raise self._error()

    async def remove(self) -> None:
        """Remove the Secret; the cluster removes the Job and the Pod that it owns."""
        await self.records.remove(self.record)

    async def inspect(self) -> Details:
        """Raise PeithoError that tells what is wrong."""
        raise self._error()

    def _error(self) -> PeithoError:
        return PeithoError(
            f"the record of this container, Secret {self.record.kubernetes_name}, is damaged "
            f"({self.record.cause}): remove the container"
        )
