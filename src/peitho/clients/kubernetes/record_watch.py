"""
A cache of the records of this Peitho's chaincode, kept up to date by one list and watch.

Of each Secret the metadata alone is sent and kept.  What Peitho itself writes or reads is known at
once, and whole for a while: the calls of one launch need not read it again and again.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from peitho import audit
from peitho.clients.kubernetes.api import Kubernetes, Listing
from peitho.clients.kubernetes.following import Following
from peitho.clients.turns import in_turns
from peitho.formats.bounded_dict import BoundedDict
from peitho.formats.kubernetes import record_secrets
from peitho.formats.records import DamagedRecord, Record, RecordMetadata

KnownRecord = RecordMetadata | DamagedRecord

_REMEMBERED = 10_000
_WHOLE_RECORDS = 500
# What we wrote or read counts for so long without a word of the watch, which comes in milliseconds;
# a watch that is later than that is not believed.
_UNTOLD_SECONDS = 2.0


class RecordWatch:
    """The records as last seen, by the names of their Secrets, and the latest of them whole."""

    def __init__(self, kubernetes: Kubernetes, *, labels: Mapping[str, str]) -> None:
        self.labels = dict(labels)
        self._kubernetes = kubernetes
        self._known: dict[str, KnownRecord] = {}
        self._whole: BoundedDict[str, tuple[Record, float]] = BoundedDict(_WHOLE_RECORDS)
        self._removed: BoundedDict[str, None] = BoundedDict(_REMEMBERED)
        self._removing: set[str] = set()
        self._told_version = ""
        self._untold: tuple[str, float] | None = None
        self._is_followed = False
        self.synced = asyncio.Event()

    async def run(self) -> None:
        """List and watch for ever; what is not permitted to be watched is listed when needed."""
        await Following(
            self._kubernetes,
            "Secret",
            self.labels,
            record_secrets.read_metadata,
            metadata_only=True,
        ).run(self)

    @property
    def is_live(self) -> bool:
        """Whether the watch goes on, and has told what was written a moment ago."""
        is_late = self._untold is not None and _now() - self._untold[1] > _UNTOLD_SECONDS
        return self._is_followed and not is_late

    def list(self) -> list[KnownRecord] | None:
        """Return all records; None while the watch may miss some."""
        return list(self._known.values()) if self.is_live else None

    def known(self) -> Sequence[KnownRecord]:
        """Return all records that it knows, though it may miss some: see `is_live`."""
        return list(self._known.values())

    def see(self, kubernetes_name: str) -> KnownRecord | None:
        """Return a record as the watch tells it; None if it tells of none, or may miss some."""
        return self._known.get(kubernetes_name) if self.is_live else None

    def lacks(self, kubernetes_name: str) -> bool:
        """
        Whether no record of that name is ours, for certain.

        Nobody else makes records of this Peitho, and what it makes itself is known at once.
        """
        return self.is_live and self.synced.is_set() and kubernetes_name not in self._known

    def whole(self, kubernetes_name: str) -> Record | None:
        """Return a record as it was last written or read, unless it may have changed since."""
        record, at = self._whole.get(kubernetes_name, (None, 0.0))
        known = self._known.get(kubernetes_name)
        if record is None or known is None or _version(known) != record.resource_version:
            return None
        is_told = self.is_live and not _is_newer(record.resource_version, self._told_version)
        return record if is_told or _now() - at < _UNTOLD_SECONDS else None

    def note(self, record: Record) -> None:
        """Know a record as the API server has just answered it."""
        if self.labels.items() <= record.labels.items() and self._know(record):
            self._whole[record.kubernetes_name] = record, _now()
            if self._untold is None and _is_newer(record.resource_version, self._told_version):
                self._untold = record.resource_version, _now()

    @contextmanager
    def removing(self, record: KnownRecord) -> Iterator[None]:
        """Know that a record is being removed by us, and by nobody else."""
        self._removing.add(record.uid)
        try:
            yield
        finally:
            self._removing.discard(record.uid)

    def forget(self, record: KnownRecord) -> None:
        """Know that exactly this record was removed, whatever the watch may yet tell of it."""
        self._removed[record.uid] = None
        self._drop(record)

    def forget_name(self, kubernetes_name: str) -> None:
        """Know that there is no record of that name."""
        self._known.pop(kubernetes_name, None)

    async def replace(self, listing: Listing[KnownRecord]) -> None:
        """Take a list: what is not in it is gone, unless it is newer than the list."""
        listed = {record.uid for record in listing.items}
        async for known in in_turns(list(self._known.values())):
            if known.uid not in listed and not _is_newer(_version(known), listing.version):
                self._lose(known)
        async for record in in_turns(listing.items):
            self._know(record)
        self.synced.set()

    def take(self, kind: str, item: KnownRecord) -> None:
        """Take one event of the watch."""
        if kind == "DELETED":
            self._lose(item)
        else:
            self._know(item)

    def heard(self, version: str) -> None:
        """Note how far the API server has told."""
        self._told_version = version
        self._is_followed = True
        if self._untold and not _is_newer(self._untold[0], version):
            self._untold = None

    def interrupted(self) -> None:
        """Note that from now on something may be missed."""
        self._is_followed = False

    def _lose(self, record: KnownRecord) -> None:
        """Take it that a record is gone; one that somebody else removed belongs into the trail."""
        known = self._known.get(record.kubernetes_name)
        is_news = known is not None and known.uid == record.uid and record.uid not in self._removing
        if is_news and isinstance(record, RecordMetadata):
            audit.record(
                "container removed",
                outcome="done by somebody else, in the cluster",
                container=record.name,
                id=record.id,
            )
        self._drop(record)

    def _drop(self, record: KnownRecord) -> None:
        known = self._known.get(record.kubernetes_name)
        if known is not None and known.uid == record.uid:
            del self._known[record.kubernetes_name]

    def _know(self, record: KnownRecord) -> bool:
        """Take a record for the present one; False if a later one is known, or that it is gone."""
        if record.uid in self._removed:
            return False
        known = self._known.get(record.kubernetes_name)
        if known is not None and _is_newer(_version(known), _version(record)):
            return False
        self._known[record.kubernetes_name] = (
            record.metadata if isinstance(record, Record) else record
        )
        return True


def _version(record: KnownRecord) -> str:
    return "" if isinstance(record, DamagedRecord) else record.resource_version


def _is_newer(version: str, other: str) -> bool:
    """Whether a resource version is later than another: since Kubernetes 1.35 they are numbers."""
    return version.isdecimal() and other.isdecimal() and int(version) > int(other)


def _now() -> float:
    return asyncio.get_running_loop().time()
