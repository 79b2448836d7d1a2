"""
The chaincode containers of one namespace: create, find, list.

All their state is in the cluster, so a restart of Peitho loses nothing.
"""

import asyncio
import secrets

import structlog

from peitho.clients.kubernetes.api import KubernetesError
from peitho.clients.turns import in_turns
from peitho.core.chaincode.container import ChaincodeContainer, ChaincodeParts
from peitho.core.chaincode.damaged import DamagedContainer
from peitho.core.chaincode.process import summary
from peitho.core.clock import now
from peitho.core.container import Container, Summary
from peitho.core.images import publisher
from peitho.core.pods.tokens import Holder
from peitho.errors import Conflict, Unavailable
from peitho.formats.kubernetes import labels, names, record_secrets
from peitho.formats.records import CHAINCODE, ContainerSpec, DamagedRecord, Record, RecordMetadata

log = structlog.get_logger()

_ID_CHARACTERS = 64
_HEXADECIMAL = frozenset("0123456789abcdef")
# The first list of thousands of Pods takes some seconds, and a peer has more patience than that.
_SYNC_SECONDS = 10.0


class ChaincodeContainers:
    """The chaincode containers of one namespace."""

    def __init__(self, parts: ChaincodeParts) -> None:
        self.parts = parts

    async def create(self, name: str, spec: ContainerSpec) -> ChaincodeContainer:
        """
        Create a chaincode container.

        Raises NotFound for the image, Conflict for the name, Unavailable.
        """
        image = (await publisher.get(self.parts.publisher, spec.image)).image
        holder = Holder(self._secret_name(name), secrets.token_hex(_ID_CHARACTERS // 2))
        secret = record_secrets.chaincode_secret(
            instance=self.parts.pods.now.instance,
            container_id=holder.id,
            name=name,
            spec=spec,
            token=self.parts.token(image.layer, holder),
            ca=self.parts.ca,
            created=now(),
        )
        try:
            record = await self.parts.records.create(secret)
        except KubernetesError as error:
            if error.reason == "AlreadyExists":
                raise await self._name_in_use(name) from error
            raise
        log.info("container created", name=name, secret=record.kubernetes_name)
        return ChaincodeContainer(self.parts, record)

    async def find(self, reference: str) -> Container | None:
        """
        Find the container of that name, of that ID, or of a unique beginning of an ID.

        Raises Unavailable, also before the cluster has told once which Pods there are.
        """
        await self.synced()
        if not reference:
            return None
        secret_name = self._secret_name(reference)
        if not self.parts.records.lacks(secret_name):
            record = await self.parts.records.get(secret_name)
            if record and self._is_meant(record, reference):
                return self._container(record)
        if set(reference) <= _HEXADECIMAL:
            return await self._find_by_id(reference)
        return None

    async def records(self) -> list[RecordMetadata]:
        """Return what is known of all of them, damaged ones left out. Raises Unavailable."""
        return await self.parts.records.find(self.labels)

    async def list(self) -> list[Summary]:
        """List all of them, without reading what their Secrets hold."""
        records = await self.records()
        return [summary(record, self.parts.watch) async for record in in_turns(records)]

    async def awaits_layer(self, holder: Holder) -> bool:
        """
        Whether a container's Pod may still have to fetch its layer. Raises Unavailable.

        A Pod that has not begun its process does, whenever it was made. Once the process began it
        does not, but for an hour; once that is over, or the container is removed, no Pod comes.
        """
        await self.synced()
        record = await self.parts.records.get_metadata(holder.kubernetes_name)
        if not isinstance(record, RecordMetadata) or record.id != holder.id:
            return False
        return self.parts.process(record).awaits_layer

    async def synced(self) -> None:
        """Wait until it is known which Pods there are. Raises Unavailable after a few seconds."""
        try:
            async with asyncio.timeout(_SYNC_SECONDS):
                await self.parts.watch.synced.wait()
        except TimeoutError:
            raise Unavailable(
                "The Kubernetes API cannot be reached: it has not told yet which Pods there are"
            ) from None

    async def _find_by_id(self, beginning: str) -> Container | None:
        records = await self.records()
        matching = [record for record in records if record.id.startswith(beginning)]
        if len(matching) != 1:
            return None
        record = await self.parts.records.get(matching[0].kubernetes_name)
        return self._container(record) if record else None

    def _is_meant(self, record: Record | DamagedRecord, reference: str) -> bool:
        """Whether a record that has the name is of this Peitho: another may share the namespace."""
        if not labels.are_own(record.labels, self.parts.pods.now.instance):
            return False
        return isinstance(record, DamagedRecord) or record.name == reference

    def _container(self, record: Record | DamagedRecord) -> Container:
        if isinstance(record, DamagedRecord):
            return DamagedContainer(self.parts.records, record)
        return ChaincodeContainer(self.parts, record)

    async def _name_in_use(self, name: str) -> Conflict:
        beginning = f'Conflict. The container name "/{name}" is already in use by '
        record = await self.parts.records.get(self._secret_name(name))
        if record and self._is_meant(record, name):
            return Conflict(
                f'{beginning}container "{self._container(record).id}". You have to remove (or '
                "rename) that container to be able to reuse that name."
            )
        return Conflict(
            f"{beginning}another Peitho in this namespace. Give each a namespace of its own, or "
            f"remove the Secret {self._secret_name(name)} if that Peitho is gone."
        )

    def _secret_name(self, name: str) -> str:
        return names.chaincode_name(self.parts.pods.now.instance, name)

    @property
    def labels(self) -> dict[str, str]:
        """The labels of all of them."""
        return labels.kind_labels(self.parts.pods.now.instance, CHAINCODE)
