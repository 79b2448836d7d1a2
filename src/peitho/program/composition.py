"""The composition root: all parts are put together here, and started by `app`."""

from collections.abc import AsyncIterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    nullcontext,
)
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from peitho import audit
from peitho.api.services import Services
from peitho.clients.authority import Authority, DeliveryCertificate
from peitho.clients.disk import lock
from peitho.clients.disk.audit_file import AuditFile
from peitho.clients.disk.build_cache import BuildCache
from peitho.clients.disk.storage import Storage
from peitho.clients.disk.write_probe import WriteProbe
from peitho.clients.docker import DaemonTlsFiles, Docker
from peitho.clients.kubernetes.api import Kubernetes
from peitho.clients.kubernetes.pod_watch import PodWatch
from peitho.clients.kubernetes.record_watch import RecordWatch
from peitho.clients.kubernetes.records import Records
from peitho.clients.kubernetes.started_watch import StartedWatch
from peitho.clients.registry.registries import Registries, RegistryAccount
from peitho.clients.tls import CertificateFiles
from peitho.core.builds.container import BuildContainers
from peitho.core.builds.in_daemon import DaemonBackend
from peitho.core.builds.in_pods import PodBackend
from peitho.core.builds.pool import BuildBackend, BuildPool
from peitho.core.builds.queue import FairQueue, TenantQueue
from peitho.core.chaincode.container import ChaincodeParts
from peitho.core.chaincode.containers import ChaincodeContainers
from peitho.core.chaincode.exits import ExitRecorder
from peitho.core.containers import Containers
from peitho.core.images.allowed import AllowedBaseImages, AllowedImages
from peitho.core.images.attestations import Attestations
from peitho.core.images.base import BaseImages, DaemonImages, NodeImages
from peitho.core.images.delivery import DeliveryPublisher
from peitho.core.images.own import OwnPublisher
from peitho.core.images.prebuilt import PrebuiltImages
from peitho.core.images.publisher import Publisher
from peitho.core.images.pull_accounts import PullAccounts
from peitho.core.images.pull_secret import PullSecret
from peitho.core.images.registry import RegistryPublisher
from peitho.core.images.store import BuildResults, ImageStore
from peitho.core.images.stored_bytes import StoredBytes
from peitho.core.images.usage import ImageUsage
from peitho.core.pods import template_check
from peitho.core.pods.account_secrets import AccountSecrets
from peitho.core.pods.lost import LostPods
from peitho.core.pods.template_check import TemplateCheck
from peitho.core.pods.tokens import DeliveryTokens
from peitho.core.pods.trials import RuntimeTrials
from peitho.core.relabelling import Relabelling
from peitho.core.surroundings import Probe, Surroundings
from peitho.core.sweeping.sweeper import Sweeper
from peitho.core.tasks import BackgroundTasks
from peitho.core.tenant import OwnNames, TenantOptions
from peitho.formats.kubernetes import chaincode_job, labels
from peitho.formats.records import CHAINCODE
from peitho.program import options
from peitho.settings import tenants
from peitho.settings.live import Live, Replaceable
from peitho.settings.models import (
    DEFAULT_TENANT,
    AuditSettings,
    DockerSettings,
    Settings,
    TlsSettings,
)


def connected(settings: Settings, *, context: str = "") -> AbstractAsyncContextManager[Kubernetes]:
    """Connect to the cluster; `context` is one of the kubeconfig, by default its current one."""
    cluster = settings.kubernetes
    return Kubernetes.connect(
        kubeconfig=cluster.kubeconfig,
        namespace=cluster.namespace,
        proxies=options.proxies(settings),
        context=context,
    )


def docker(settings: DockerSettings) -> AbstractAsyncContextManager[Docker | None]:
    """Connect to the Docker daemon for builds, if one is set."""
    if not settings.endpoint:
        return nullcontext()
    tls = DaemonTlsFiles(settings.ca_file, settings.cert_file, settings.key_file)
    return Docker.connect(settings.endpoint, tls=tls)


@asynccontextmanager
async def audit_trail(settings: AuditSettings) -> AsyncIterator[AuditFile | None]:
    """
    Have events kept in the audit file, if one is set; at the end what still waits is written.

    Raises StorageUnusable if it cannot be written.
    """
    if settings.file is None:
        yield None
        return
    trail = AuditFile(settings.file)
    trail.check()
    try:
        with audit.kept_by(trail.keep):
            yield trail
    finally:
        await trail.write()


def api_tls(settings: TlsSettings) -> CertificateFiles | None:
    """
    Read the certificate of the Docker API, if one is set; it is followed from then on.

    Raises Unavailable if its files cannot be used.
    """
    return _server_tls(settings, what="The TLS files of the Docker API", name="docker api")


def operations_tls(settings: TlsSettings) -> CertificateFiles | None:
    """Read the certificate of the operations listener in the same way. Raises Unavailable."""
    return _server_tls(settings, what="The TLS files of the operations listener", name="operations")


def _server_tls(settings: TlsSettings, *, what: str, name: str) -> CertificateFiles | None:
    if settings.cert_file is None:
        return None
    files = CertificateFiles(
        what,
        ca=settings.client_ca_file,
        certificate=settings.cert_file,
        key=settings.key_file,
        is_server=True,
        name=name,
    )
    files.context()
    return files


def locked_data_directory(settings: Settings) -> AbstractContextManager[None]:
    """Hold the data directory, so that no other Peitho serves from it. Raises Conflict."""
    return lock.locked(settings.data_dir)


def make_data_directory(settings: Settings) -> None:
    """
    Make what the data directories of all tenants lack, keys of tokens too; what is there stays.

    The authority of delivery is that of all of them, since they share a listener.

    Raises StorageUnusable, StorageFull.
    """
    for _, own in tenants.each(settings):
        Storage.make(own.data_dir).delivery_key()
    Storage(settings.data_dir).delivery_authority()


def clear_data_directory(settings: Settings) -> None:
    """
    Remove what an earlier run left half-written, for all tenants.

    Only the one Peitho that serves may do this: another would lose what it is writing.
    """
    for _, own in tenants.each(settings):
        Storage(own.data_dir).clear_spool()
        BuildCache.open(_kept_builds(own))


def templates(settings: Settings) -> list[TemplateCheck]:
    """Return the checks of all Pod templates in the settings."""
    return template_check.template_checks(
        builder=options.build_pods(settings), chaincode=options.chaincode_pods(settings)
    )


@dataclass(frozen=True, slots=True)
class Shared:
    """What the parts of all tenants have in common; the settings are those of the whole."""

    settings: Replaceable[Settings]
    kubernetes: Kubernetes
    docker: Docker | None
    account: RegistryAccount
    registries: Registries
    delivery_tls: DeliveryCertificate
    builds: FairQueue

    @classmethod
    def of(
        cls,
        settings: Settings,
        kubernetes: Kubernetes,
        *,
        docker: Docker | None = None,
        looks: bool = False,
    ) -> "Shared":
        """Make it, over a client for the cluster; with a daemon, builds run there."""
        live = Replaceable(settings)
        account = RegistryAccount(live.map(options.registry_account))
        registries = Registries(
            options.registry_endpoint(settings), account, proxies=options.proxies(settings)
        )
        authority = Storage(settings.data_dir, looks=looks).delivery_authority()
        return cls(
            live,
            kubernetes,
            docker,
            account,
            registries,
            DeliveryCertificate(authority, live.map(options.delivery_address)),
            FairQueue(live.map(options.parallel_builds)),
        )

    def follow(self, settings: Settings) -> None:
        """
        Replace the settings, for all tenants: builds and launches that come later go by them.

        They must differ in nothing that needs a restart (see `settings/changes.py`).
        """
        self.settings.now = settings


@dataclass(frozen=True, slots=True)
class Composition:
    """
    All parts of one tenant, put together; none of them has begun to work.

    All read `settings` where they act, which are this tenant's. `former_builds` removes builds that
    were made in Pods before a daemon was set; None without a daemon.
    """

    tenant: str
    shared: Shared
    settings: Live[Settings]
    kubernetes: Kubernetes
    services: Services
    chaincodes: ChaincodeContainers
    record_watch: RecordWatch
    pull_secret: PullSecret
    exits: ExitRecorder
    started: StartedWatch
    lost_pods: LostPods
    relabelling: Relabelling
    former_builds: PodBackend | None


def compose(
    shared: Shared, tasks: BackgroundTasks, *, tenant: str = DEFAULT_TENANT, looks: bool = False
) -> Composition:
    """
    Put all parts of one tenant together, over its prepared data directory.

    If it only `looks`, not even damaged files are moved.
    """
    live = shared.settings.map(partial(tenants.settings_of, tenant=tenant))
    settings, docker = live.now, shared.docker
    account, registries = shared.account, shared.registries
    kubernetes = shared.kubernetes.in_namespace(settings.kubernetes.namespace)
    watch = PodWatch(kubernetes, labels=labels.own_labels(settings.peitho.instance))
    own = _OwnThings.of(shared, tenant)
    pull_accounts = PullAccounts(kubernetes, live.map(options.chaincode_pods))
    stores = _Stores.at(live, own, pull_accounts, looks=looks)
    record_watch = RecordWatch(
        kubernetes, labels=labels.kind_labels(settings.peitho.instance, CHAINCODE)
    )
    records = Records(kubernetes, record_watch)
    place = _Place(
        kubernetes, watch, records, docker, account, stores, own, AccountSecrets(kubernetes)
    )
    trials = RuntimeTrials(
        kubernetes,
        watch,
        pods=live.map(options.chaincode_pods),
        tasks=tasks,
        account_secrets=place.account_secrets,
    )
    publisher = own.publisher(_publisher(live, stores, registries, trials, pull_accounts))
    base_images = place.base_images(live)
    launched = _chaincodes(live, place, publisher, tasks)
    builds = _builds(live, place, tasks)
    return Composition(
        tenant=tenant,
        shared=shared,
        settings=live,
        kubernetes=kubernetes,
        services=Services(
            containers=Containers(launched, builds, base_images, own.names),
            builds=builds,
            images=stores.images,
            publisher=publisher,
            storage=stores.storage,
            tokens=stores.tokens,
            watch=watch,
            usage=stores.usage,
            sweeper=_sweeper(live, kubernetes, stores, launched, builds),
            base_images=base_images,
            write_probe=WriteProbe(stores.storage),
            surroundings=Surroundings(watch, _probes(settings, docker, registries)),
            record_watch=record_watch,
            exits=launched.parts.exits,
            docker=docker,
        ),
        chaincodes=launched,
        record_watch=record_watch,
        pull_secret=PullSecret(kubernetes, account, live.map(options.pull_secret)),
        exits=launched.parts.exits,
        started=StartedWatch(kubernetes, watch, container=CHAINCODE),
        lost_pods=LostPods(kubernetes, watch, tasks),
        relabelling=Relabelling(kubernetes, settings.peitho.instance),
        former_builds=place.pods(settings) if docker else None,
    )


def compose_all(
    shared: Shared, tasks: BackgroundTasks, *, looks: bool = False
) -> dict[str, Composition]:
    """Put the parts of all tenants together; return them by the tenants' names."""
    return {
        name: compose(shared, tasks, tenant=name, looks=looks)
        for name in tenants.names(shared.settings.now)
    }


@dataclass(frozen=True, slots=True)
class _OwnThings:
    """What holds a tenant to its own; without tenants in the settings, nothing does."""

    shared: Shared
    tenant: str
    options: Live[TenantOptions] | None

    @classmethod
    def of(cls, shared: Shared, tenant: str) -> "_OwnThings":
        """Return it, as the settings have tenants now; whether there are any needs a restart."""
        live = shared.settings
        has_tenants = bool(live.now.access.tenants)
        return cls(
            shared,
            tenant,
            live.map(partial(options.tenant, name=tenant)) if has_tenants else None,
        )

    @property
    def names(self) -> OwnNames | None:
        """The names that its peers may use."""
        return OwnNames(self.options) if self.options else None

    def publisher(self, publisher: Publisher) -> Publisher:
        """Return a publisher of these names alone."""
        return OwnPublisher(publisher, self.names) if self.names else publisher

    def stored_bytes(self, storage: Storage, cache: BuildCache) -> StoredBytes | None:
        """Return the limit of what it may have stored."""
        return StoredBytes(storage, cache, self.options) if self.options else None

    def queue(self, live: Live[Settings]) -> FairQueue | TenantQueue:
        """Return the queue of its builds."""
        own = FairQueue(live.map(options.parallel_builds))
        if self.options is None:
            return own
        return TenantQueue(own, self.shared.builds, tenant=self.tenant)

    def allowed_images(self, live: Live[Settings]) -> AllowedImages:
        """Return which builder and runtime images it may name."""
        published = self.shared.settings.map(options.published_images)
        hides = self.options is not None
        return AllowedImages(live.map(options.allowed_images), published, hides)


@dataclass(frozen=True, slots=True)
class _Stores:
    """The parts that keep things in the data directory."""

    storage: Storage
    tokens: DeliveryTokens
    authority: Authority
    results: BuildResults
    prebuilt: PrebuiltImages
    images: ImageStore
    usage: ImageUsage
    cache: BuildCache
    stored_bytes: StoredBytes | None

    @classmethod
    def at(
        cls, live: Live[Settings], own: _OwnThings, pull_accounts: PullAccounts, *, looks: bool
    ) -> "_Stores":
        """Return those of the data directory in the settings."""
        storage = Storage(live.now.data_dir, looks=looks)
        cache = BuildCache(_kept_builds(live.now), looks=looks)
        stored_bytes = own.stored_bytes(storage, cache)
        results, allowed = BuildResults(cache.find), own.allowed_images(live)
        pods = live.map(options.chaincode_pods)
        prebuilt = PrebuiltImages(
            allowed,
            own.shared.registries,
            live.map(options.prebuilt),
            pull_accounts=pull_accounts,
        )
        return cls(
            storage,
            DeliveryTokens(storage.delivery_key(), own.tenant),
            own.shared.delivery_tls.authority,
            results,
            prebuilt,
            ImageStore(
                storage,
                results,
                limits=live.map(options.archive_limits),
                allowed=allowed,
                prebuilt=prebuilt.of_result,
                stored_bytes=stored_bytes,
                user=lambda image: chaincode_job.runs_as(image, pods.now),
            ),
            ImageUsage(storage),
            cache,
            stored_bytes,
        )


@dataclass(frozen=True, slots=True)
class _Place:
    """Where builds and chaincode run; no setting changes it while Peitho runs."""

    kubernetes: Kubernetes
    watch: PodWatch
    records: Records
    docker: Docker | None
    account: RegistryAccount
    stores: _Stores
    own: _OwnThings
    account_secrets: AccountSecrets

    def backend(self, settings: Settings) -> BuildBackend:
        """Return a backend with fixed options: a build keeps the settings it began with."""
        if self.docker is None:
            return self.pods(settings)
        return DaemonBackend(
            self.docker,
            self.base_images(Live(settings)),
            results=self.stores.results,
            options=options.daemon_backend(settings, self.kubernetes.namespace),
        )

    def pods(self, settings: Settings) -> PodBackend:
        """Return a backend that carries builds out in Pods."""
        return PodBackend(
            self.kubernetes,
            self.watch,
            tokens=self.stores.tokens,
            ca=self.stores.authority.pem,
            owner=self.stores.storage.owner(),
            options=options.pod_backend(settings),
            account_secrets=self.account_secrets,
        )

    def base_images(self, live: Live[Settings]) -> BaseImages:
        """Return the builder and runtime images that the tenant may name."""
        images: BaseImages = NodeImages()
        if self.docker:
            images = DaemonImages(self.docker, self.account, live.map(options.daemon_images))
        return AllowedBaseImages(images, self.own.allowed_images(live))


def _probes(settings: Settings, docker: Docker | None, registries: Registries) -> dict[str, Probe]:
    """Return how to ask what is outside, as far as the settings need it."""
    probes: dict[str, Probe] = {}
    if docker:
        probes["daemon"] = docker.ping
    if settings.peitho.image_mode == "registry":

        async def ping() -> None:
            await (await registries.own()).ping()

        probes["registry"] = ping
    return probes


def _builds(live: Live[Settings], place: _Place, tasks: BackgroundTasks) -> BuildContainers:
    stores = place.stores
    pool = BuildPool(
        live.map(place.backend),
        cache=stores.cache if live.now.builder.cache.enable else None,
        queue=place.own.queue(live),
        storage=stores.storage,
        results=stores.results,
        options=live.map(options.build_pool),
        tasks=tasks,
        prebuilt_images=stores.prebuilt,
        stored_bytes=stores.stored_bytes,
    )
    return BuildContainers(
        pool, storage=stores.storage, options=live.map(options.build_containers), tasks=tasks
    )


def _chaincodes(
    live: Live[Settings], place: _Place, publisher: Publisher, tasks: BackgroundTasks
) -> ChaincodeContainers:
    kubernetes, watch, stores = place.kubernetes, place.watch, place.stores
    records, instance = place.records, live.now.peitho.instance
    parts = ChaincodeParts(
        kubernetes=kubernetes,
        watch=watch,
        records=records,
        publisher=publisher,
        storage=stores.storage,
        exits=ExitRecorder(kubernetes, watch, instance=instance, tasks=tasks, records=records),
        tokens=stores.tokens,
        ca=stores.authority.pem,
        tasks=tasks,
        options=live.map(options.chaincode),
        pods=live.map(options.chaincode_pods),
        account_secrets=place.account_secrets,
    )
    return ChaincodeContainers(parts)


def _sweeper(
    live: Live[Settings],
    kubernetes: Kubernetes,
    stores: _Stores,
    chaincodes: ChaincodeContainers,
    builds: BuildContainers,
) -> Sweeper:
    return Sweeper(
        kubernetes,
        chaincodes=chaincodes,
        pool=builds.pool,
        images=stores.images,
        usage=stores.usage,
        storage=stores.storage,
        cache=stores.cache,
        options=live.map(options.sweeper),
    )


def _publisher(
    live: Live[Settings],
    stores: _Stores,
    registries: Registries,
    trials: RuntimeTrials,
    pull_accounts: PullAccounts,
) -> Publisher:
    """Return the publisher of the image mode."""
    if live.now.peitho.image_mode == "delivery":
        return DeliveryPublisher(stores.images, try_runtime=trials.require)
    return RegistryPublisher(
        stores.images,
        stores.storage,
        registries,
        live.map(options.registry_publisher),
        try_prebuilt=trials.require,
        attestations=Attestations(live.map(options.attestations)),
        pull_accounts=pull_accounts,
    )


def _kept_builds(settings: Settings) -> Path:
    return settings.data_dir / "builds"
