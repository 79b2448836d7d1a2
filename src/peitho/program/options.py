"""What settings mean for each part, as the records that the parts take."""

from dataclasses import replace

from peitho.api.system import architecture
from peitho.clients.registry.registries import RegistryAccount
from peitho.core.builds.container import BuildContainerOptions
from peitho.core.builds.in_daemon import DaemonBackendOptions
from peitho.core.builds.pool import BuildLimits as RunLimits
from peitho.core.chaincode.container import ChaincodeOptions
from peitho.core.images.registry import RegistryPublisherOptions
from peitho.core.sweeping.rules import RetentionOptions
from peitho.core.sweeping.sweeper import SweeperOptions
from peitho.formats.docker.daemon import DaemonBuildLimits, DaemonBuildOwner
from peitho.formats.kubernetes import pull_secret
from peitho.formats.kubernetes.pod_options import PodOptions
from peitho.formats.kubernetes.templates import TemplateOverride
from peitho.formats.tar import ArchiveLimits
from peitho.settings.models import (
    BuilderSettings,
    ChaincodeSettings,
    RegistrySettings,
    Resources,
    Settings,
)


def sweeper(settings: Settings) -> SweeperOptions:
    """What goes, and when."""
    hosts = (entry.rpartition(":") for entry in settings.kubernetes.dns)
    return SweeperOptions(
        enable=settings.sweeper.enable,
        interval_seconds=settings.sweeper.interval,
        policy=RetentionOptions(
            retention_seconds=settings.sweeper.retention,
            orphan_after_seconds=settings.sweeper.orphan_after,
            images_retention_seconds=settings.images.retention,
            images_limit_bytes=settings.images.limit_bytes,
        ),
        cache_limit_bytes=settings.builder.cache.limit_bytes,
        cache_age_seconds=settings.builder.cache.max_age_seconds,
        hosts={host: address for address, _, host in hosts},
    )


def limits(settings: Settings) -> ArchiveLimits:
    """What an archive may be."""
    return ArchiveLimits(
        entries=settings.limits.archive_entries, total_bytes=settings.limits.archive_bytes
    )


def run_limits(settings: Settings) -> RunLimits:
    """What one build may say and leave behind."""
    return RunLimits(
        output_bytes=settings.limits.output_bytes, result_bytes=settings.limits.archive_bytes
    )


def decided(settings: Settings) -> object:
    """What the outcome of a build depends on, beside the build itself."""
    return [list(settings.images.rewrite.items()), settings.builder.template]


def builder(settings: Settings) -> BuildContainerOptions:
    """When a build is given up."""
    return BuildContainerOptions(settings.builder.abandoned_after_seconds)


def daemon(settings: Settings, namespace: str) -> DaemonBackendOptions:
    """Where in the daemon builds are, and what they may use."""
    resources = settings.builder.resources
    bounds = DaemonBuildLimits(settings.docker.network, resources.memory_limit, resources.cpu_limit)
    return DaemonBackendOptions(
        place=DaemonBuildOwner(settings.peitho.instance, namespace, bounds),
        start_timeout_seconds=settings.builder.start_timeout_seconds,
        deadline_seconds=settings.builder.deadline_seconds,
    )


def chaincode(settings: Settings) -> ChaincodeOptions:
    """How long launches may take."""
    return ChaincodeOptions(
        start_timeout_seconds=settings.chaincode.start_timeout_seconds,
        settle_seconds=settings.chaincode.settle_seconds,
    )


def chaincode_pods(settings: Settings) -> PodOptions:
    """The Pods of chaincode."""
    return replace(
        pod_settings(settings, settings.chaincode),
        host_aliases=settings.kubernetes.dns,
        overrides=tuple(
            TemplateOverride(each.match.msp_id, each.match.label, each.template)
            for each in settings.chaincode.overrides
        ),
    )


def pod_settings(settings: Settings, kind: BuilderSettings | ChaincodeSettings) -> PodOptions:
    """The Pods of one kind."""
    return PodOptions(
        instance=settings.peitho.instance,
        peitho_image=settings.peitho.puller_image,
        peitho_url=f"http://{settings.peitho.puller_access_address}",
        user=kind.user,
        users=kind.users,
        requests=_quantities(kind.resources, "request"),
        limits=_quantities(kind.resources, "limit"),
        rewrite=settings.images.rewrite,
        template=kind.template,
        pull_secrets=_pull_secrets(settings),
    )


def target(settings: Settings) -> RegistryPublisherOptions:
    """Where in the registry images go."""
    return RegistryPublisherOptions(
        server=settings.docker.registry.server_address,
        project=settings.docker.registry.project,
        architecture=architecture(),
        rewrite=settings.images.rewrite,
    )


def makes_pull_secret(settings: Settings) -> bool:
    """Where no other is named, and there is an account to make one of."""
    return settings.docker.registry.pull_secret is None and bool(_pull_secrets(settings))


def _pull_secrets(settings: Settings) -> tuple[str, ...]:
    registry = settings.docker.registry
    if registry.pull_secret is not None:
        return (registry.pull_secret,) if registry.pull_secret else ()
    has_account = registry.server_address and (registry.username or registry.username_file)
    return (pull_secret.name(settings.peitho.instance),) if has_account else ()


def account(registry: RegistrySettings) -> RegistryAccount:
    """Who Peitho is for the registry."""
    return RegistryAccount(
        registry.username,
        registry.password.get_secret_value(),
        registry.username_file,
        registry.password_file,
    )


def _quantities(resources: Resources, which: str) -> dict[str, str]:
    found = {name: getattr(resources, f"{name}_{which}") for name in ("cpu", "memory")}
    return {name: quantity for name, quantity in found.items() if quantity}
