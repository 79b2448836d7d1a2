"""The composition root: here, and only here, parts meet."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

from peitho import options
from peitho.api.services import Services
from peitho.clients.build_cache import BuildCache
from peitho.clients.docker import Docker, TlsFiles
from peitho.clients.kubernetes import Kubernetes
from peitho.clients.pod_watch import PodWatch
from peitho.clients.registries import Account, Registries
from peitho.clients.registry_calls import Endpoint
from peitho.clients.storage import Storage
from peitho.core import admission
from peitho.core.admission import Trial
from peitho.core.base_images import BaseImages, DaemonImages, NodeImages
from peitho.core.build_daemon import BuildDaemon
from peitho.core.build_pods import BuildPodOptions, BuildPods
from peitho.core.builds import Builds
from peitho.core.chaincode import Chaincodes
from peitho.core.containers import Containers
from peitho.core.endings import Endings
from peitho.core.images import Images, Provenance
from peitho.core.publishing import Delivery, Publisher
from peitho.core.pull_secret import PullSecret
from peitho.core.pushing import Pushing
from peitho.core.runs import Backend, Runs
from peitho.core.sweeper import Sweeper
from peitho.core.tasks import Tasks, until_done
from peitho.core.tokens import Tokens
from peitho.core.turns import Turns
from peitho.core.usage import Usage
from peitho.core.vanished import Vanished
from peitho.formats import records, repositories
from peitho.settings import (
    DockerSettings,
    Settings,
)


def connected(settings: Settings) -> AbstractAsyncContextManager[Kubernetes]:
    """The cluster."""
    cluster = settings.kubernetes
    return Kubernetes.connect(kubeconfig=cluster.kubeconfig, namespace=cluster.namespace)


def docker(settings: DockerSettings) -> AbstractAsyncContextManager[Docker | None]:
    """The daemon of builds, if there is one."""
    if not settings.endpoint:
        return nullcontext()
    tls = TlsFiles(settings.ca_file, settings.cert_file, settings.key_file)
    return Docker.connect(settings.endpoint, tls=tls)


def templates(settings: Settings) -> list[Trial]:
    """What the cluster is to be asked about."""
    return admission.trials(
        builder=options.pod_settings(settings, settings.builder),
        chaincode=options.chaincode_pods(settings),
    )


@dataclass(frozen=True, slots=True)
class Composition:
    """All parts, put together, and those that follow the settings."""

    kubernetes: Kubernetes
    services: Services
    chaincodes: Chaincodes
    account: Account
    pull_secret: PullSecret | None
    make_backend: Callable[[Settings], Backend]

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
        self.chaincodes.settings = options.chaincode_pods(settings)
        self.chaincodes.options = options.chaincode(settings)
        services.sweeper.follow(options.sweeper(settings))
        if isinstance(services.publisher, Pushing):
            services.publisher.target = options.target(settings)
        if isinstance(services.base_images, DaemonImages):
            services.base_images.rewrite = settings.images.rewrite


def compose(
    settings: Settings, kubernetes: Kubernetes, tasks: Tasks, *, docker: Docker | None = None
) -> Composition:
    """All parts, put together; with a daemon, builds run there."""
    storage = Storage.open(settings.data_dir)
    tokens = Tokens(storage.delivery_key())
    provenance = Provenance()
    account = options.account(settings.docker.registry)
    images = Images(storage, provenance, limits=options.limits(settings))
    publisher = _publisher(settings, images, storage, account, tasks)
    watch = pod_watch(settings, kubernetes)
    launched = chaincodes(settings, kubernetes, watch, publisher, storage=storage, tasks=tasks)
    Endings(kubernetes, watch, tasks=tasks)
    Vanished(kubernetes, watch, instance=settings.peitho.instance, tasks=tasks)
    base_images = _base_images(settings, docker, account)
    surroundings = _Surroundings(kubernetes, watch, tokens, provenance, docker, account)
    cache = BuildCache.open(settings.data_dir / "builds")
    builds = _builds(settings, surroundings, storage, cache, tasks)
    usage = Usage(storage)
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
    tasks: Tasks,
) -> Builds:
    if surroundings.docker:
        # Those of a run before the daemon was set; the daemon's own are the backend's.
        pods = surroundings.pods(settings)
        clearing = until_done(partial(pods.clear_leftovers, ()), what="clearing of leftover Pods")
        tasks.spawn(clearing, name="leftover build pods")
    runs = Runs(
        surroundings.backend(settings),
        cache=cache if settings.builder.cache.enable else None,
        turns=Turns(settings.builder.max_parallel),
        storage=storage,
        provenance=surroundings.provenance,
        limits=options.run_limits(settings),
        tasks=tasks,
        decided=options.decided(settings),
    )
    return Builds(
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
    tokens: Tokens
    provenance: Provenance
    docker: Docker | None
    account: Account

    def backend(self, settings: Settings) -> Backend:
        """One that stays as it is: a build that has begun is carried out by the same settings."""
        if self.docker is None:
            return self.pods(settings)
        return BuildDaemon(
            self.docker,
            _base_images(settings, self.docker, self.account),
            provenance=self.provenance,
            options=options.daemon(settings, self.kubernetes.namespace),
        )

    def pods(self, settings: Settings) -> BuildPods:
        """Builds in Pods."""
        return BuildPods(
            self.kubernetes,
            self.watch,
            tokens=self.tokens,
            settings=options.pod_settings(settings, settings.builder),
            options=BuildPodOptions(
                start_timeout_seconds=settings.builder.start_timeout_seconds,
                deadline_seconds=settings.builder.deadline_seconds,
            ),
        )


def pod_watch(settings: Settings, kubernetes: Kubernetes) -> PodWatch:
    """The Pods of this Peitho."""
    return PodWatch(
        kubernetes,
        labels=records.own_labels(settings.peitho.instance),
        key=records.CONTAINER,
    )


def _base_images(settings: Settings, docker: Docker | None, account: Account) -> BaseImages:
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
    tasks: Tasks,
) -> Chaincodes:
    """The chaincode of this Peitho."""
    return Chaincodes(
        kubernetes,
        watch,
        publisher,
        storage=storage,
        tokens=Tokens(storage.delivery_key()),
        settings=options.chaincode_pods(settings),
        options=options.chaincode(settings),
        tasks=tasks,
    )


def _publisher(
    settings: Settings, images: Images, storage: Storage, account: Account, tasks: Tasks
) -> Publisher:
    """How nodes get images, by the image mode."""
    registry = settings.docker.registry
    if settings.peitho.image_mode == "delivery":
        return Delivery(images)
    host, _ = repositories.split_server(registry.server_address)
    endpoint = Endpoint(host, registry.api_prefix, registry.insecure, registry.ca_file)
    registries = Registries(endpoint, account)
    tasks.run(registries.run(), name="registries")
    return Pushing(images, storage, registries, options.target(settings))


def _keep_pull_secret(
    settings: Settings, kubernetes: Kubernetes, account: Account, tasks: Tasks
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
