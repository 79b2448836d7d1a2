"""
Tenants: callers that know nothing of each other, each with settings of its own.

Without any in the settings there is one, `default`, for whoever comes in. What was there before
there were tenants is that one's: it has the namespace, the instance and the directory of the whole.
"""

from collections.abc import Iterator
from typing import Any

from peitho.settings.models import DEFAULT_TENANT, Settings, TenantSettings

# No instance in the settings has a dot, so a tenant's is no other Peitho's either.
_DOT = "."


def names(settings: Settings) -> tuple[str, ...]:
    """Return the names of all tenants; `default` is always there, and the first."""
    others = (name for name in settings.access.tenants if name != DEFAULT_TENANT)
    return (DEFAULT_TENANT, *others)


def settings_of(settings: Settings, *, tenant: str) -> Settings:
    """Return the settings by which the parts of one tenant go."""
    own = settings.access.tenants.get(tenant)
    if own is None:
        return settings
    changes = _within_limits(settings, own)
    if tenant != DEFAULT_TENANT:
        changes |= _apart(settings, own, tenant)
    return settings.model_copy(update=changes)


def instance_of(instance: str, tenant: str) -> str:
    """Return what tells a tenant's objects apart from others in the namespace."""
    return instance if tenant == DEFAULT_TENANT else f"{instance}{_DOT}{tenant}"


def each(settings: Settings) -> Iterator[tuple[str, Settings]]:
    """Yield the name and the settings of each tenant."""
    for name in names(settings):
        yield name, settings_of(settings, tenant=name)


def _within_limits(settings: Settings, own: TenantSettings) -> dict[str, Any]:
    """Return what is another where a tenant may have less, or other images."""
    access, limits, builder = settings.access, settings.limits, settings.builder
    archive_bytes = _smaller(limits.archive_bytes, own.limits.upload_bytes)
    builds = _smaller(builder.max_parallel, own.limits.builds)
    images = access.images if own.images is None else own.images
    return {
        "access": access.model_copy(update={"images": images}),
        "limits": limits.model_copy(update={"archive_bytes": archive_bytes}),
        "builder": builder.model_copy(update={"max_parallel": builds}),
    }


def _apart(settings: Settings, own: TenantSettings, tenant: str) -> dict[str, Any]:
    """Return where a tenant has its things, which is nobody else's place."""
    peitho, cluster, docker = settings.peitho, settings.kubernetes, settings.docker
    registry = docker.registry
    project = "/".join(part for part in (registry.project, tenant) if part)
    return {
        "data_dir": settings.data_dir / "tenants" / tenant,
        "peitho": peitho.model_copy(update={"instance": instance_of(peitho.instance, tenant)}),
        "kubernetes": cluster.model_copy(update={"namespace": own.namespace or cluster.namespace}),
        "docker": docker.model_copy(
            update={"registry": registry.model_copy(update={"project": project})}
        ),
    }


def _smaller(one: int, other: int) -> int:
    """Return the smaller of two limits, of which 0 is none."""
    return min(one, other) if one and other else one or other
