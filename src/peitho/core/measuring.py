"""What is measured at intervals: the store, how late the event loop is, when certificates end."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import structlog

from peitho import metrics
from peitho.clients.authority import DeliveryCertificate
from peitho.clients.disk.storage import Storage
from peitho.clients.tls import CertificateFiles
from peitho.errors import PeithoError

log = structlog.get_logger()

Certificates = CertificateFiles | DeliveryCertificate

_LAG_LOOK_SECONDS = 1.0
_STORE_LOOK_SECONDS = 60.0


class Measuring:
    """
    Measures for ever.

    The storages are those of all tenants, on one volume; `certificates` are read again where their
    files have changed.
    """

    def __init__(
        self, storages: Sequence[Storage], certificates: Sequence[Certificates] = ()
    ) -> None:
        self._storages = storages
        self._certificates = certificates

    async def run_lag(self) -> None:
        """Measure how much later than due the event loop comes to this task."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _LAG_LOOK_SECONDS
            await asyncio.sleep(_LAG_LOOK_SECONDS)
            metrics.LOOP_LAG_SECONDS.observe(max(0.0, loop.time() - due))

    async def run(self) -> None:
        """Measure the store, and look at the certificates; what goes wrong is logged."""
        while True:
            try:
                await self.look()
            except Exception:
                log.exception("not measured")
            await asyncio.sleep(_STORE_LOOK_SECONDS)

    async def look(self) -> None:
        """Measure once."""
        for files in self._certificates:
            try:
                files.context()
            except (PeithoError, OSError) as error:
                log.warning("certificates not read", cause=str(error))
        await asyncio.to_thread(self._look_at_store)

    def _look_at_store(self) -> None:
        try:
            used_bytes, total_bytes = self._storages[0].volume()
            images = sum(len(storage.image_files()) for storage in self._storages)
            sizes: Counter[str] = Counter()
            for storage in self._storages:
                sizes.update(storage.sizes())
        except PeithoError as error:  # /readyz tells of it, too
            log.debug("store not measured", cause=str(error))
            return
        for kind, size_bytes in sizes.items():
            metrics.STORE_BYTES.labels(kind).set(size_bytes)
        metrics.STORE_IMAGES.set(images)
        metrics.VOLUME_USED_BYTES.set(used_bytes)
        metrics.VOLUME_BYTES.set(total_bytes)
