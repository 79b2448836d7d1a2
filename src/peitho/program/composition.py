"""The composition root: here, and only here, parts meet."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

from peitho.api.services import Services
from peitho.clients.disk.build_cache import BuildCache
from peitho.clients.disk.storage import Storage
from peitho.clients.docker import DaemonTlsFiles, Docker
from peitho.clients.kubernetes.api import Kubernetes
from peitho.clients.kubernetes.pod_watch import PodWatch
from peitho.clients.registry.registries import Registries, RegistryAccount
from peitho.clients.registry.transport import RegistryEndpoint
from peitho.core.builds.container import BuildContainers
from peitho.core.builds.in_daemon import DaemonBackend
from peitho.core.builds.in_pods import PodBackend, PodBackendOptions
from peitho.core.builds.pool import BuildBackend, BuildPool
from peitho.core.builds.queue import FairQueue
from peitho.core.chaincode.container import ChaincodeParts
from peitho.core.chaincode.containers import ChaincodeContainers
from peitho.core.chaincode.exits import ExitRecorder
from peitho.core.containers import Containers
from peitho.core.images.base import BaseImages, DaemonImages, NodeImages
from peitho.core.images.delivery import DeliveryPublisher
from peitho.core.images.publisher import Publisher
from peitho.core.images.pull_secret import PullSecret
from peitho.core.images.registry import RegistryPublisher
from peitho.core.images.store import ImageStore, ResultArchitectures
from peitho.core.images.usage import ImageUsage
from peitho.core.pods import template_check
from peitho.core.pods.template_check import TemplateCheck
from peitho.core.pods.tokens import DeliveryTokens
from peitho.core.sweeping.sweeper import Sweeper
from peitho.core.tasks import BackgroundTasks, until_done
from peitho.formats.images import repositories
from peitho.formats.kubernetes import labels
from peitho.program import options
from peitho.settings.models import DockerSettings, Settings


def connected(settings: Settings) -> AbstractAsyncContextManager[Kubernetes]:
    """The cluster."""
    cluster = settings.kubernetes
    return Kubernetes.connect(kubeconfig=cluster.kubeconfig, namespace=cluster.namespace)


def docker(settings: DockerSettings) -> AbstractAsyncContextManager[Docker | None]:
    """The daemon of builds, if there is one."""
    if not settings.endpoint:
        return nullcontext()
    tls = DaemonTlsFiles(settings.ca_file, settings.cert_file, settings.key_file)
    return Docker.connect(settings.endpoint, tls=tls)


def templates(settings: Settings) -> list[TemplateCheck]:
    """What the cluster is to be asked about."""
    return template_check.template_checks(
        builder=options.pod_settings(settings, settings.builder),
        chaincode=options.chaincode_pods(settings),
    )


@dataclass(frozen=True, slots=True)
class Composition:
    """All parts, put together, and those that follow the settings."""

    kubernetes: Kubernetes
    services: Services
    chaincodes: ChaincodeContainers
    account: RegistryAccount
    pull_secret: PullSecret | None
    make_backend: Callable[[Settings], BuildBackend]

    def follow(self, settings: Settings) -> None:
        """
        Have all parts go by other settings, from the next build and launch on.

        They differ in nothing that needs a restart (`live`).
        """
        services, runs = self.services, self.services.builds.runs
        self.account.become(options.account(settings.docker.registry))
        if self.pull_secret:
            self.pull_secret.is_wanted = options.makes_pull_secret(settings)
            self.pull_secret.email = settings.docker.registry.email
        runs.backend, runs.decided = self.make_backend(settings), options.decided(settings)
        runs.limits = options.run_limits(settings)
        runs.turns.allow(settings.builder.max_parallel)
        services.builds.options = options.builder(settings)
        services.builds.limits = services.images.limits = options.limits(settings)
        self.chaincodes.parts.pods = options.chaincode_pods(settings)
        self.chaincodes.parts.options = options.chaincode(settings)
        services.sweeper.follow(options.sweeper(settings))
        if isinstance(services.publisher, RegistryPublisher):
            services.publisher.target = options.target(settings)
        if isinstance(services.base_images, DaemonImages):
            services.base_images.rewrite = settings.images.rewrite


def compose(
    settings: Settings,
    kubernetes: Kubernetes,
    tasks: BackgroundTasks,
    *,
    docker: Docker | None = None,
) -> Composition:
    """All parts, put together; with a daemon, builds run there."""
    storage = Storage.open(settings.data_dir)
    tokens = DeliveryTokens(storage.delivery_key())
    provenance = ResultArchitectures()
    account = options.account(settings.docker.registry)
    images = ImageStore(storage, provenance, limits=options.limits(settings))
    publisher = _publisher(settings, images, storage, account, tasks)
    watch = pod_watch(settings, kubernetes)
    launched = chaincodes(settings, kubernetes, watch, publisher, storage=storage, tasks=tasks)
    base_images = _base_images(settings, docker, account)
    surroundings = _Surroundings(kubernetes, watch, tokens, provenance, docker, account)
    cache = BuildCache.open(settings.data_dir / "builds")
    builds = _builds(settings, surroundings, storage, cache, tasks)
    usage = ImageUsage(storage)
    sweeper = Sweeper(
        kubernetes,
        chaincodes=launched,
        runs=builds.runs,
        images=images,
        usage=usage,
        storage=storage,
        cache=cache,
        options=options.sweeper(settings),
    )
    services = Services(
        containers=Containers(launched, builds, base_images),
        builds=builds,
        images=images,
        publisher=publisher,
        storage=storage,
        tokens=tokens,
        watch=watch,
        usage=usage,
        sweeper=sweeper,
        base_images=base_images,
        docker=docker,
    )
    pull_secret = _keep_pull_secret(settings, kubernetes, account, tasks)
    return Composition(kubernetes, services, launched, account, pull_secret, surroundings.backend)


def _builds(
    settings: Settings,
    surroundings: "_Surroundings",
    storage: Storage,
    cache: BuildCache,
    tasks: BackgroundTasks,
) -> BuildContainers:
    if surroundings.docker:
        # Those of a run before the daemon was set; the daemon's own are the backend's.
        pods = surroundings.pods(settings)
        clearing = until_done(partial(pods.clear_leftovers, ()), what="clearing of leftover Pods")
        tasks.spawn(clearing, name="leftover build pods")
    runs = BuildPool(
        surroundings.backend(settings),
        cache=cache if settings.builder.cache.enable else None,
        turns=FairQueue(settings.builder.max_parallel),
        storage=storage,
        provenance=surroundings.provenance,
        limits=options.run_limits(settings),
        tasks=tasks,
        decided=options.decided(settings),
    )
    return BuildContainers(
        runs,
        storage=storage,
        options=options.builder(settings),
        limits=options.limits(settings),
        tasks=tasks,
    )


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """What builds are carried out with, whatever the settings are."""

    kubernetes: Kubernetes
    watch: PodWatch
    tokens: DeliveryTokens
    provenance: ResultArchitectures
    docker: Docker | None
    account: RegistryAccount

    def backend(self, settings: Settings) -> BuildBackend:
        """One that stays as it is: a build that has begun is carried out by the same settings."""
        if self.docker is None:
            return self.pods(settings)
        return DaemonBackend(
            self.docker,
            _base_images(settings, self.docker, self.account),
            provenance=self.provenance,
            options=options.daemon(settings, self.kubernetes.namespace),
        )

    def pods(self, settings: Settings) -> PodBackend:
        """Builds in Pods."""
        return PodBackend(
            self.kubernetes,
            self.watch,
            tokens=self.tokens,
            pods=options.pod_settings(settings, settings.builder),
            options=PodBackendOptions(
                start_timeout_seconds=settings.builder.start_timeout_seconds,
                deadline_seconds=settings.builder.deadline_seconds,
            ),
        )


def pod_watch(settings: Settings, kubernetes: Kubernetes) -> PodWatch:
    """The Pods of this Peitho."""
    return PodWatch(
        kubernetes,
        labels=labels.own_labels(settings.peitho.instance),
    )


def _base_images(settings: Settings, docker: Docker | None, account: RegistryAccount) -> BaseImages:
    if docker is None:
        return NodeImages()
    server = settings.docker.registry.server_address
    return DaemonImages(docker, account, server=server, rewrite=settings.images.rewrite)


def chaincodes(  # noqa: PLR0913  what they are put together from
    settings: Settings,
    kubernetes: Kubernetes,
    watch: PodWatch,
    publisher: Publisher,
    *,
    storage: Storage,
    tasks: BackgroundTasks,
) -> ChaincodeContainers:
    """The chaincode of this Peitho."""
    exits = ExitRecorder(kubernetes, watch, instance=settings.peitho.instance, tasks=tasks)
    parts = ChaincodeParts(
        kubernetes=kubernetes,
        watch=watch,
        publisher=publisher,
        storage=storage,
        exits=exits,
        tasks=tasks,
        options=options.chaincode(settings),
        pods=options.chaincode_pods(settings),
    )
    return ChaincodeContainers(parts, tokens=DeliveryTokens(storage.delivery_key()))


def _publisher(
    settings: Settings,
    images: ImageStore,
    storage: Storage,
    account: RegistryAccount,
    tasks: BackgroundTasks,
) -> Publisher:
    """How nodes get images, by the image mode."""
    registry = settings.docker.registry
    if settings.peitho.image_mode == "delivery":
        return DeliveryPublisher(images)
    host, _ = repositories.split_server(registry.server_address)
    endpoint = RegistryEndpoint(host, registry.api_prefix, registry.insecure, registry.ca_file)
    registries = Registries(endpoint, account)
    tasks.run(registries.run(), name="registries")
    return RegistryPublisher(images, storage, registries, options.target(settings))


def _keep_pull_secret(
    settings: Settings, kubernetes: Kubernetes, account: RegistryAccount, tasks: BackgroundTasks
) -> PullSecret | None:
    """Where there is a registry; it may be wanted later."""
    registry, instance = settings.docker.registry, settings.peitho.instance
    if not registry.server_address:
        return None
    host, _ = repositories.split_server(registry.server_address)
    secret = PullSecret(kubernetes, account, instance=instance, host=host, email=registry.email)
    secret.is_wanted = options.makes_pull_secret(settings)
    tasks.spawn(secret.run(), name="pull secret")
    return secret
