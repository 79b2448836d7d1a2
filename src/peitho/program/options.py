"""What settings mean for each part: functions from settings to the parts' options."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from peitho.api.page.guard import PageAccess
from peitho.api.system import architecture
from peitho.clients.proxies import Proxies
from peitho.clients.registry.registries import RegistryAccountOptions
from peitho.clients.registry.transport import RegistryEndpoint
from peitho.core.builds.container import BuildContainerOptions
from peitho.core.builds.in_daemon import DaemonBackendOptions
from peitho.core.builds.in_pods import PodBackendOptions
from peitho.core.builds.pool import BuildPoolOptions
from peitho.core.chaincode.container import ChaincodeOptions
from peitho.core.images.attestations import AttestationOptions
from peitho.core.images.base import DaemonImagesOptions
from peitho.core.images.prebuilt import PrebuiltOptions
from peitho.core.images.pull_secret import PullSecretOptions
from peitho.core.images.registry import RegistryPublisherOptions
from peitho.core.sweeping.rules import RetentionOptions
from peitho.core.sweeping.sweeper import SweeperOptions
from peitho.core.tenant import TenantOptions
from peitho.formats.docker.daemon import DaemonBuildLimits, DaemonBuildOwner
from peitho.formats.images import references, repositories
from peitho.formats.images.repositories import PublishedImages, is_loopback
from peitho.formats.kubernetes import pull_secret as secrets
from peitho.formats.kubernetes.pod_options import PodOptions
from peitho.formats.kubernetes.templates import TemplateOverride
from peitho.formats.tar import ArchiveLimits
from peitho.settings.models import BuilderSettings, ChaincodeSettings, Resources, Settings


def sweeper(settings: Settings) -> SweeperOptions:
    """When the sweeper sweeps, and what it keeps."""
    hosts = (entry.rpartition(":") for entry in settings.kubernetes.dns)
    return SweeperOptions(
        enable=settings.sweeper.enable,
        interval_seconds=settings.sweeper.interval,
        policy=RetentionOptions(
            retention_seconds=settings.sweeper.retention,
            orphan_after_seconds=settings.sweeper.orphan_after,
            images_retention_seconds=settings.images.retention,
            images_limit_bytes=settings.images.limit_bytes,
            start_timeout_seconds=settings.chaincode.start_timeout_seconds,
        ),
        cache_limit_bytes=settings.builder.cache.limit_bytes,
        cache_age_seconds=settings.builder.cache.max_age_seconds,
        hosts={host: address for address, _, host in hosts},
    )


def allowed_images(settings: Settings) -> tuple[str, ...]:
    """Patterns of the builder and runtime images that peers may name."""
    if settings.access.images is not None:
        return settings.access.images
    rewrite = settings.images.rewrite
    return (references.FABRIC_IMAGES, *rewrite, *rewrite.values())


def page_access(settings: Settings) -> PageAccess:
    """Who may read the status page: it is as open as the Docker API, unless more is asked for."""
    server = settings.server
    is_api_open = server.tls.client_ca_file is None and not is_loopback(server.api)
    takes_certificates = server.operations_tls.client_ca_file is not None
    is_asked_for = takes_certificates or server.operations_token_file is not None
    return PageAccess(
        token_file=server.operations_token_file,
        takes_certificates=takes_certificates,
        is_open=not is_asked_for and (is_api_open or is_loopback(server.operations)),
        hosts=(*_service_names(delivery_address(settings)), *server.operations_hosts),
    )


def _service_names(address: str) -> Iterator[str]:
    """Yield the names by which a cluster's DNS knows the Service of an address, if it has one."""
    given = address.rpartition(":")[0].lower()
    yield given
    host = given.removesuffix(".cluster.local").removesuffix(".svc")
    name, _, namespace = host.partition(".")
    if host == given and "." in namespace:  # a name of the operator's own DNS
        return
    yield name
    if namespace:
        yield from (f"{host}{below}" for below in ("", ".svc", ".svc.cluster.local"))


def prebuilt(settings: Settings) -> PrebuiltOptions:
    """By which keys images that packages name are signed."""
    keys = tuple(Path(file) for file in settings.images.verify)
    return PrebuiltOptions(keys=keys, rewrite=settings.images.rewrite)


def attestations(settings: Settings) -> AttestationOptions:
    """Who says where images come from, and by which key."""
    namespace, instance = settings.kubernetes.namespace, settings.peitho.instance
    return AttestationOptions(
        builder_id=":".join(part for part in ("urn:peitho", namespace, instance) if part),
        key=settings.images.sign,
    )


def published_images(settings: Settings) -> PublishedImages | None:
    """Where all tenants have their chaincode images, if it is in a registry."""
    registry = settings.docker.registry
    if not settings.access.tenants or settings.peitho.image_mode != "registry":
        return None
    host, path = repositories.split_server(registry.server_address)
    host = references.DOCKER_HUB if references.is_docker_hub(host) else host.lower()
    place = "/".join(part for part in (host, path, registry.project) if part)
    return PublishedImages(place, tuple(settings.access.tenants), settings.images.rewrite)


def tenant(settings: Settings, *, name: str) -> TenantOptions:
    """What is a tenant's own; nobody is `default` if the settings have others and not that."""
    own = settings.access.tenants.get(name)
    if own is None:
        return TenantOptions(name)
    return TenantOptions(
        name,
        msp_ids=own.msp_ids,
        networks=own.networks,
        peers=own.peers,
        containers=own.limits.containers,
        stored_bytes=own.limits.stored_bytes,
    )


def archive_limits(settings: Settings) -> ArchiveLimits:
    """How large an archive may be."""
    return ArchiveLimits(
        entries=settings.limits.archive_entries, total_bytes=settings.limits.archive_bytes
    )


def build_containers(settings: Settings) -> BuildContainerOptions:
    """When a build counts as abandoned, and how large its uploads may be."""
    return BuildContainerOptions(
        abandoned_after_seconds=settings.builder.abandoned_after_seconds,
        archive=archive_limits(settings),
    )


def build_pool(settings: Settings) -> BuildPoolOptions:
    """How much a build may write and make, and which settings its outcome depends on."""
    return BuildPoolOptions(
        output_bytes=settings.limits.output_bytes,
        result_bytes=settings.limits.archive_bytes,
        determinants=[list(settings.images.rewrite.items()), settings.builder.template],
        compiles_ahead=settings.builder.cache.compiler,
        keeps_packages=settings.builder.cache.packages,
        needs_origin=settings.images.sign is not None and settings.peitho.image_mode == "registry",
    )


def parallel_builds(settings: Settings) -> int:
    """How many builds run at once; 0 is no limit."""
    return settings.builder.max_parallel


def pod_backend(settings: Settings) -> PodBackendOptions:
    """The Pods of builds, and how long a build may take."""
    return PodBackendOptions(
        pods=build_pods(settings),
        start_timeout_seconds=settings.builder.start_timeout_seconds,
        deadline_seconds=settings.builder.deadline_seconds,
    )


def daemon_backend(settings: Settings, namespace: str) -> DaemonBackendOptions:
    """Whose the builds in the daemon are, and what they may use."""
    resources = settings.builder.resources
    limits = DaemonBuildLimits(settings.docker.network, resources.memory_limit, resources.cpu_limit)
    return DaemonBackendOptions(
        owner=DaemonBuildOwner(settings.peitho.instance, namespace, limits),
        start_timeout_seconds=settings.builder.start_timeout_seconds,
        deadline_seconds=settings.builder.deadline_seconds,
    )


def daemon_images(settings: Settings) -> DaemonImagesOptions:
    """Which images the daemon pulls instead, and which registry the account is for."""
    return DaemonImagesOptions(
        server=settings.docker.registry.server_address, rewrite=settings.images.rewrite
    )


def chaincode(settings: Settings) -> ChaincodeOptions:
    """How long launches may take."""
    return ChaincodeOptions(
        start_timeout_seconds=settings.chaincode.start_timeout_seconds,
        settle_seconds=settings.chaincode.settle_seconds,
    )


def build_pods(settings: Settings) -> PodOptions:
    """The Pods of builds."""
    return _pods(settings, settings.builder)


def chaincode_pods(settings: Settings) -> PodOptions:
    """The Pods of chaincode."""
    return replace(
        _pods(settings, settings.chaincode),
        host_aliases=settings.kubernetes.dns,
        puller_beside=settings.chaincode.puller == "beside",
        overrides=tuple(
            TemplateOverride(override.match.msp_id, override.match.label, override.template)
            for override in settings.chaincode.overrides
        ),
    )


def delivery_address(settings: Settings) -> str:
    """Where Pods reach the delivery listener."""
    return settings.peitho.puller_access_address


def registry_endpoint(settings: Settings) -> RegistryEndpoint:
    """Where the registry's API is."""
    registry = settings.docker.registry
    host, _ = repositories.split_server(registry.server_address)
    return RegistryEndpoint(host, registry.api_prefix, registry.insecure, registry.ca_file)


def registry_account(settings: Settings) -> RegistryAccountOptions:
    """The account at the registry."""
    registry = settings.docker.registry
    return RegistryAccountOptions(
        registry.username,
        registry.password.get_secret_value(),
        registry.username_file,
        registry.password_file,
    )


def proxies(settings: Settings) -> Proxies:
    """The proxies towards the cluster and registries."""
    proxy = settings.proxy
    return Proxies(
        https=proxy.https.get_secret_value(),
        http=proxy.http.get_secret_value(),
        no_proxy=proxy.no_proxy,
    )


def registry_publisher(settings: Settings) -> RegistryPublisherOptions:
    """Where in the registry images are pushed."""
    return RegistryPublisherOptions(
        server=settings.docker.registry.server_address,
        project=settings.docker.registry.project,
        architecture=architecture(),
        rewrite=settings.images.rewrite,
    )


def pull_secret(settings: Settings) -> PullSecretOptions:
    """Whether Peitho makes the pull Secret: only if no other is named, and there is an account."""
    registry = settings.docker.registry
    host, _ = repositories.split_server(registry.server_address)
    return PullSecretOptions(
        is_wanted=registry.pull_secret is None and bool(_pull_secrets(settings)),
        instance=settings.peitho.instance,
        host=host,
        email=registry.email,
    )


def _pods(settings: Settings, kind: BuilderSettings | ChaincodeSettings) -> PodOptions:
    """The Pods of one kind."""
    return PodOptions(
        instance=settings.peitho.instance,
        peitho_image=settings.peitho.puller_image,
        peitho_url=f"https://{delivery_address(settings)}",
        user=kind.user,
        users=kind.users,
        requests=_quantities(kind.resources, "request"),
        limits=_quantities(kind.resources, "limit"),
        rewrite=settings.images.rewrite,
        template=kind.template,
        pull_secrets=_pull_secrets(settings),
    )


def _pull_secrets(settings: Settings) -> tuple[str, ...]:
    registry = settings.docker.registry
    if registry.pull_secret is not None:
        return (registry.pull_secret,) if registry.pull_secret else ()
    has_account = registry.server_address and (registry.username or registry.username_file)
    return (secrets.name(settings.peitho.instance),) if has_account else ()


def _quantities(resources: Resources, which: str) -> dict[str, str]:
    quantities = {name: getattr(resources, f"{name}_{which}") for name in ("cpu", "memory")}
    return {name: quantity for name, quantity in quantities.items() if quantity}
