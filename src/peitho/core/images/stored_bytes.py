"""How many bytes a tenant may have stored: its layers, and its kept builds."""

import threading

import structlog

from peitho.clients.disk.build_cache import BuildCache
from peitho.clients.disk.storage import Storage
from peitho.core.tenant import TenantOptions
from peitho.errors import LimitReached
from peitho.settings.live import Live

log = structlog.get_logger()


class StoredBytes:
    """Holds a tenant to its limit. Kept builds, which can be made anew, go before all else."""

    def __init__(self, storage: Storage, cache: BuildCache, options: Live[TenantOptions]) -> None:
        self._storage = storage
        self._cache = cache
        self._options = options
        # What one thread has made room for, no other may take for its own.
        self._looking = threading.Lock()

    def make_room(self, more_bytes: int = 0) -> None:
        """
        Have room for what is stored, and so many bytes more; the least used kept builds go first.

        Only threads may wait for it. Raises LimitReached if there is still too much.
        """
        limit_bytes = self._options.now.stored_bytes
        if not limit_bytes:
            return
        with self._looking:
            kept = sorted(self._cache.entries(), key=lambda entry: entry.used_at)
            layers_bytes = self._storage.blobs_bytes() + more_bytes
            total_bytes = layers_bytes + sum(entry.bytes for entry in kept)
            if layers_bytes <= limit_bytes:
                for entry in kept:
                    if total_bytes <= limit_bytes:
                        break
                    self._cache.drop(entry.key)
                    total_bytes -= entry.bytes
                    log.info("kept build removed to make room", key=entry.key[:12])
        if total_bytes > limit_bytes:
            raise LimitReached(
                f"the images of this tenant have more than {limit_bytes} bytes together "
                "(limits.stored-bytes of access.tenants in Peitho's settings): remove some that "
                "are not needed any more (docker rmi), or have the operator raise the limit"
            )
