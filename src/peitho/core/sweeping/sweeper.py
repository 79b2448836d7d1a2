"""
The sweeper: removes ended chaincode, chaincode without a peer, unused images, old kept builds.

What is removed is decided in `rules`; here it is looked up, removed and logged.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import structlog

from peitho import audit, metrics
from peitho.clients.disk.build_cache import BuildCache
from peitho.clients.disk.storage import Storage
from peitho.clients.kubernetes import statuses
from peitho.clients.kubernetes.api import Kubernetes
from peitho.clients.probe import is_refused
from peitho.clients.turns import in_turns
from peitho.core.builds.pool import BuildPool
from peitho.core.chaincode import container
from peitho.core.chaincode.containers import ChaincodeContainers
from peitho.core.clock import SteadyClock, unix_seconds
from peitho.core.images.store import ImageStore
from peitho.core.images.usage import ImageUsage
from peitho.core.sweeping import rules
from peitho.core.sweeping.rules import Removal, RetentionOptions, Snapshot, StoredImage, Undecided
from peitho.errors import PeithoError
from peitho.formats.bounded_dict import BoundedDict
from peitho.formats.images.image_record import Image
from peitho.formats.kubernetes import labels
from peitho.formats.kubernetes.pod_status import PodStatus
from peitho.formats.records import RecordMetadata
from peitho.settings.live import Live

log = structlog.get_logger()

# From this share on, a warning says that the store or its volume is nearly full.
_NEARLY_FULL = 0.8
# What cannot be removed is tried again each hour at least.
_LONGEST = 3600.0
_REMEMBERED = 1000
# So many records are looked at in one turn of the loop.
_AT_ONCE = 100


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
    """
    One thing that a sweep removes, in words; `failure` is why it is still there.

    `tenant` is empty where there are none.
    """

    kind: str
    name: str
    why: str
    failure: str = ""
    tenant: str = ""


@dataclass(slots=True)
class _Postponed:
    """Something that could not be removed, and when it is tried again by the loop's clock."""

    failures: int = 0
    until: float = 0.0


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
        self._clock = SteadyClock()
        self._postponed: BoundedDict[tuple[str, str], _Postponed] = BoundedDict(_REMEMBERED)

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
            await self._usage.save({image.name for image in await self._images.listed()})
        except PeithoError as error:
            log.warning("usage of images not kept", cause=str(error))
        except Exception:
            log.exception("usage of images not kept")

    async def _try(self) -> None:
        for step in (self._sweep_measured, self._pool.clear_leftovers):
            try:
                await step()
            except PeithoError as error:
                metrics.SWEEP_ERRORS.labels("sweep").inc()
                log.warning("sweep interrupted", cause=str(error))
            except Exception:
                metrics.SWEEP_ERRORS.labels("sweep").inc()
                log.exception("sweep failed")

    async def _sweep_measured(self) -> None:
        with metrics.SWEEP_SECONDS.time():
            await self.sweep(dry_run=False)

    async def _rest(self, options: SweeperOptions) -> None:
        """Wait until the next sweep is due, or the options have changed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(options.interval_seconds):
                await self._options.until_other(options)

    async def sweep(self, *, dry_run: bool) -> list[Finding]:
        """
        Remove what is due, or only report it; what cannot be removed keeps nothing else there.

        Raises KubernetesError, Unavailable if the cluster does not tell what there is.
        """
        kept_builds = await self._sweep_builds(dry_run=dry_run)  # they need no cluster
        await self._chaincodes.synced()
        # Records first: a container that is created meanwhile is then not seen, and not removed.
        records = await self._chaincodes.records()
        chaincode = await self._sweep_chaincode(records, dry_run=dry_run)
        images = await self._sweep_images(records, dry_run=dry_run)
        findings = [*chaincode, *images, *kept_builds]
        if failed := sum(bool(finding.failure) for finding in findings):
            log.warning("sweep incomplete", failed=failed, removed=len(findings) - failed)
        return findings

    async def _sweep_chaincode(
        self, records: Sequence[RecordMetadata], *, dry_run: bool
    ) -> list[Finding]:
        asked = await self._asked(records)
        await self._probe(set(asked.values()))
        findings = []
        async for found in self._judged(records, asked):
            if isinstance(found, Undecided):
                log.warning("chaincode not judged", name=found.record.name, cause=found.cause)
                metrics.SWEEP_ERRORS.labels("chaincode").inc()
                continue
            remove = partial(container.remove, self._chaincodes.parts, found.record)
            due = Finding("chaincode", found.record.name, found.why)
            findings.append(await self._removed(due, remove, dry_run=dry_run))
        return findings

    async def _judged(
        self, records: Sequence[RecordMetadata], asked: Mapping[str, str]
    ) -> AsyncIterator[Removal | Undecided]:
        """Yield what is to be removed, as the rules say; a few records are looked at in a turn."""
        for begin in range(0, len(records), _AT_ONCE):
            world = await self._look(records[begin : begin + _AT_ONCE], asked)
            for found in rules.chaincode(world, self._options.now.policy):
                yield found
            await asyncio.sleep(0)

    async def _removed(
        self, due: Finding, remove: Callable[[], Awaitable[None]], *, dry_run: bool
    ) -> Finding:
        """Remove one thing, unless it failed a short while ago; return what became of it."""
        loop, key = asyncio.get_running_loop(), (due.kind, due.name)
        failures = self._postponed.get(key, _Postponed())
        if not dry_run:
            if failures.until > loop.time():
                return replace(due, failure="it failed lately, and is tried again later")
            try:
                await remove()
            except Exception as error:
                if not isinstance(error, PeithoError):
                    log.exception("sweep failed", kind=due.kind, name=due.name)
                pause = min(self._options.now.interval_seconds * 2**failures.failures, _LONGEST)
                self._postponed[key] = _Postponed(failures.failures + 1, loop.time() + pause)
                metrics.SWEEP_ERRORS.labels(due.kind).inc()
                cause = str(error) or type(error).__name__
                log.warning("not swept", kind=due.kind, name=due.name, why=due.why, cause=cause)
                return replace(due, failure=cause)
            self._postponed.pop(key, None)
            metrics.SWEPT.labels(due.kind).inc()
            audit.record(f"{due.kind} swept", name=due.name, why=due.why)
        log.info("swept", kind=due.kind, name=due.name, why=due.why, dry_run=dry_run)
        return due

    async def _in_use(self, records: Sequence[RecordMetadata], known: set[str]) -> set[str]:
        """Return the names of images that a container has; a name that is damaged is none."""
        names = {record.image.removesuffix(":latest") for record in records}
        async for unknown in in_turns(names - known):  # it may be an ID
            with suppress(PeithoError, ValueError):
                if image := self._images.find(unknown):
                    names.add(image.name)
        return names

    async def _asked(self, records: Sequence[RecordMetadata]) -> dict[str, str]:
        """
        Return where each container's peer is asked for, by the container's ID.

        It is where the chaincode itself looks: its Pod's hosts file comes before the DNS.
        """
        hosts = self._options.now.hosts
        asked = {}
        async for record in in_turns(records):
            host, _, port = record.peer_address.rpartition(":")
            if host:
                pod = self._pod(record)
                own = dict(pod.hosts) if pod else {}
                asked[record.id] = f"{own.get(host) or hosts.get(host, host)}:{port}"
        return asked

    def _pod(self, record: RecordMetadata) -> PodStatus | None:
        sighting = self._chaincodes.parts.watch.see(labels.container_label(record.id))
        return None if sighting.gone else sighting.pod

    async def _look(self, records: Sequence[RecordMetadata], asked: Mapping[str, str]) -> Snapshot:
        """Return what is known of these records; only Jobs without a Pod have to be asked for."""
        parts = self._chaincodes.parts
        now, refused_until = self._clock.earliest(), asyncio.get_running_loop().time()
        pods = [pod for record in records if (pod := self._pod(record))]
        seen = {pod.container_label for pod in pods}
        job_names = [
            record.job_name
            for record in records
            if record.exit is None and labels.container_label(record.id) not in seen
        ]
        own = self._chaincodes.labels
        jobs = await statuses.get_jobs(self._kubernetes, job_names, labels=own)
        return Snapshot(
            now=now,
            instance=parts.pods.now.instance,
            records=records,
            pods=pods,
            jobs=list(jobs.values()),
            refused_since={
                peer: now - (refused_until - since) for peer, since in self._refused_since.items()
            },
            asked=asked,
            waited=parts.waits.keys(),
        )

    async def _probe(self, peers: set[str]) -> None:
        for peer in set(self._refused_since) - peers:
            del self._refused_since[peer]
        async with asyncio.TaskGroup() as group:
            for peer in peers:
                group.create_task(self._probe_one(peer), name=f"probe {peer}")

    async def _probe_one(self, peer: str) -> None:
        host, _, port = peer.rpartition(":")
        is_port = port.isascii() and port.isdigit() and len(port) <= len("65535")
        if is_port and await is_refused(host.strip("[]"), int(port)):
            self._refused_since.setdefault(peer, asyncio.get_running_loop().time())
        else:
            self._refused_since.pop(peer, None)

    async def _sweep_images(
        self, records: Sequence[RecordMetadata], *, dry_run: bool
    ) -> list[Finding]:
        stored = [self._stored(image) async for image in in_turns(await self._images.listed())]
        in_use = await self._in_use(records, {image.name for image in stored})
        self._warn(sum(image.bytes for image in stored))
        findings = []
        now = self._usage.now()
        for image, why in rules.images(stored, in_use, now, self._options.now.policy):
            remove = partial(self._remove_image, image.name)
            due = Finding("image", image.name, why)
            findings.append(await self._removed(due, remove, dry_run=dry_run))
        return findings

    def _stored(self, image: Image) -> StoredImage:
        try:
            created = unix_seconds(image.created)
        except (ValueError, OverflowError):
            created = self._usage.now()  # nobody knows its age, so it has none
        return StoredImage(
            name=image.name,
            bytes=image.layer_bytes,
            used_at=self._usage.used_at(image.name, default=created),
            seen_at=self._usage.seen_at(image.name, default=created),
        )

    async def _remove_image(self, name: str) -> None:
        await self._images.remove(name)

    async def _drop_build(self, key: str) -> None:
        self._cache.drop(key)

    async def _sweep_builds(self, *, dry_run: bool) -> list[Finding]:
        entries = await asyncio.to_thread(lambda: list(self._cache.entries()))
        entries.sort(key=lambda kept: kept.used_at)
        total = sum(kept.bytes for kept in entries)
        findings = []
        for entry in entries:
            age = self._clock.earliest() - entry.kept_at
            if age > self._options.now.cache_age_seconds:
                why = f"kept for {age:.0f} s"
            elif total > self._options.now.cache_limit_bytes:
                why = f"the cache holds more than {self._options.now.cache_limit_bytes} bytes"
            else:
                continue
            total -= entry.bytes
            due = Finding("kept build", entry.key[:12], why)
            remove = partial(self._drop_build, entry.key)
            findings.append(await self._removed(due, remove, dry_run=dry_run))
        return findings

    def _warn(self, stored_bytes: int) -> None:
        limit = self._options.now.policy.images_limit_bytes
        if limit and stored_bytes > _NEARLY_FULL * limit:
            log.warning("images are near their limit", bytes=stored_bytes, limit_bytes=limit)
        used, total = self._storage.volume()
        if used > _NEARLY_FULL * total:
            log.warning("data directory is nearly full", used_bytes=used, total_bytes=total)
