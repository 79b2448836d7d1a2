"""
The sweeper: removes ended chaincode, chaincode without a peer, unused images, old kept builds.

What is removed is decided in `rules`; here it is looked up, removed and logged.
"""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import structlog

from peitho import audit
from peitho.clients.disk.build_cache import BuildCache
from peitho.clients.disk.storage import Storage
from peitho.clients.kubernetes import statuses
from peitho.clients.kubernetes.api import Kubernetes
from peitho.clients.probe import is_refused
from peitho.core.builds.pool import BuildPool
from peitho.core.chaincode import container
from peitho.core.chaincode.containers import ChaincodeContainers
from peitho.core.clock import unix_seconds
from peitho.core.images.store import ImageStore
from peitho.core.images.usage import ImageUsage
from peitho.core.sweeping import rules
from peitho.core.sweeping.rules import RetentionOptions, Snapshot, StoredImage
from peitho.errors import PeithoError
from peitho.formats.kubernetes import labels
from peitho.formats.records import CHAINCODE
from peitho.settings.live import Live

log = structlog.get_logger()

# From this share on, a warning says that the store or its volume is nearly full.
_NEARLY_FULL = 0.8


@dataclass(frozen=True, slots=True)
class SweeperOptions:
    """What the operator decided: how often, what is kept, and hosts that the DNS does not know."""

    enable: bool
    interval_seconds: float
    policy: RetentionOptions
    cache_limit_bytes: int
    cache_age_seconds: float
    hosts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a sweep removes, in words."""

    kind: str
    name: str
    why: str


class Sweeper:
    """Sweeps at intervals."""

    def __init__(  # noqa: PLR0913  what there is to sweep, given once by the composition root
        self,
        kubernetes: Kubernetes,
        *,
        chaincodes: ChaincodeContainers,
        pool: BuildPool,
        images: ImageStore,
        usage: ImageUsage,
        storage: Storage,
        cache: BuildCache,
        options: Live[SweeperOptions],
    ) -> None:
        self._kubernetes = kubernetes
        self._chaincodes = chaincodes
        self._pool = pool
        self._images = images
        self._usage = usage
        self._storage = storage
        self._cache = cache
        self._options = options
        # By the loop's clock: a clock that is set must not make peers look long gone.
        self._refused_since: dict[str, float] = {}

    async def run(self) -> None:
        """Sweep for ever; what goes wrong is logged and tried again at the next sweep."""
        while True:
            options = self._options.now
            await self.keep_usage()
            if options.enable:
                await self._try()
            await self._rest(options)

    async def keep_usage(self) -> None:
        """Save which peers use which images; what goes wrong is logged."""
        try:
            await self._usage.save({image.name for image in self._images.list()})
        except PeithoError as error:
            log.warning("usage of images not kept", cause=str(error))
        except Exception:
            log.exception("usage of images not kept")

    async def _try(self) -> None:
        try:
            await self.sweep(dry_run=False)
            await self._pool.clear_leftovers()  # last: the daemon of builds may be away
        except PeithoError as error:
            log.warning("sweep interrupted", cause=str(error))
        except Exception:
            log.exception("sweep failed")

    async def _rest(self, options: SweeperOptions) -> None:
        """Wait until the next sweep is due, or the options have changed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(options.interval_seconds):
                await self._options.until_other(options)

    async def sweep(self, *, dry_run: bool) -> list[Finding]:
        """Remove what is due, or only report it. Raises KubernetesError, Unavailable."""
        world = await self._look()
        findings = []
        for removal in rules.chaincode(world, self._options.now.policy):
            findings.append(Finding("chaincode", removal.record.name, removal.why))
            if not dry_run:
                await container.remove(self._chaincodes.parts, removal.record)
        named = (self._images.find(record.image) for record in world.records)
        in_use = {image.name for image in named if image}
        findings += await self._sweep_images(in_use, dry_run=dry_run)
        findings += self._sweep_builds(dry_run=dry_run)
        for finding in findings:
            if not dry_run:
                audit.record(f"{finding.kind} swept", name=finding.name, why=finding.why)
            log.info(
                "swept", kind=finding.kind, name=finding.name, why=finding.why, dry_run=dry_run
            )
        return findings

    async def _look(self) -> Snapshot:
        parts = self._chaincodes.parts
        instance = parts.pods.now.instance
        own = labels.kind_labels(instance, CHAINCODE)
        # Records first: a container that is created meanwhile is then not seen, and not removed.
        records = await parts.records.find(own)
        jobs = await statuses.find_jobs(self._kubernetes, own)
        pods = await statuses.find_pods(self._kubernetes, own)
        await self._probe({record.peer_address for record in records} - {""})
        now, refused_until = time.time(), asyncio.get_running_loop().time()
        return Snapshot(
            now=now,
            instance=instance,
            records=records,
            pods=pods,
            jobs=jobs,
            refused_since={
                peer: now - (refused_until - since) for peer, since in self._refused_since.items()
            },
            waited=set(parts.waits),
        )

    async def _probe(self, peers: set[str]) -> None:
        for peer in set(self._refused_since) - peers:
            del self._refused_since[peer]
        async with asyncio.TaskGroup() as group:
            for peer in peers:
                group.create_task(self._probe_one(peer), name=f"probe {peer}")

    async def _probe_one(self, peer: str) -> None:
        host, _, port = peer.rpartition(":")
        host = self._options.now.hosts.get(host, host)
        if await is_refused(host.strip("[]"), int(port)):
            self._refused_since.setdefault(peer, asyncio.get_running_loop().time())
        else:
            self._refused_since.pop(peer, None)

    async def _sweep_images(self, in_use: set[str], *, dry_run: bool) -> list[Finding]:
        stored = [
            StoredImage(
                name=image.name,
                bytes=image.layer_bytes,
                used_at=self._usage.used_at(image.name, default=unix_seconds(image.created)),
                seen_at=self._usage.seen_at(image.name, default=unix_seconds(image.created)),
            )
            for image in self._images.list()
        ]
        self._warn(sum(image.bytes for image in stored))
        findings = []
        for image, why in rules.images(stored, in_use, time.time(), self._options.now.policy):
            findings.append(Finding("image", image.name, why))
            if not dry_run:
                await self._images.remove(image.name)
        return findings

    def _sweep_builds(self, *, dry_run: bool) -> list[Finding]:
        entries = sorted(self._cache.entries(), key=lambda kept: kept.used_at)
        total = sum(kept.bytes for kept in entries)
        findings = []
        for entry in entries:
            age = time.time() - entry.kept_at
            if age > self._options.now.cache_age_seconds:
                why = f"kept for {age:.0f} s"
            elif total > self._options.now.cache_limit_bytes:
                why = f"the cache holds more than {self._options.now.cache_limit_bytes} bytes"
            else:
                continue
            total -= entry.bytes
            findings.append(Finding("kept build", entry.key[:12], why))
            if not dry_run:
                self._cache.drop(entry.key)
        return findings

    def _warn(self, stored_bytes: int) -> None:
        limit = self._options.now.policy.images_limit_bytes
        if limit and stored_bytes > _NEARLY_FULL * limit:
            log.warning("images are near their limit", bytes=stored_bytes, limit_bytes=limit)
        used, total = self._storage.volume()
        if used > _NEARLY_FULL * total:
            log.warning("data directory is nearly full", used_bytes=used, total_bytes=total)
