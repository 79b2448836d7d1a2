"""Which settings a running Peitho follows when they change, and which need a restart."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from peitho.settings.loading import MEANINGLESS
from peitho.settings.models import Section, Settings, Tenants

# What these open, name or mount at the start stays as it is.  All other keys are followed;
# tests/unit/program/test_composition.py holds each against the options that the parts read.
NEED_RESTART = frozenset(
    {
        "dataDir",
        "server.api",
        "server.delivery",
        "server.operations",
        "server.operationsTls.cert-file",
        "server.operationsTls.key-file",
        "server.operationsTls.client-ca-file",
        "server.tls.cert-file",
        "server.tls.key-file",
        "server.tls.client-ca-file",
        "proxy.https",
        "proxy.http",
        "proxy.noProxy",
        "peitho.imageMode",
        "peitho.instance",
        "k8s.namespace",
        "k8s.kubeconfig",
        "docker.endpoint",
        "docker.ca-file",
        "docker.cert-file",
        "docker.key-file",
        "docker.registry.server-address",
        "docker.registry.project",
        "docker.registry.insecure",
        "docker.registry.ca-file",
        "docker.registry.api-prefix",
        "builder.cache.enable",
        "log.name",
        "audit.file",
    }
)
_REGISTRY = "docker.registry."
_SERVER = "server."
_PAGE_TOKEN = "server.operationsTokenFile"  # noqa: S105  the name of a setting
_TENANTS = "access.tenants"

S = TypeVar("S", bound=Section)


@dataclass(frozen=True, slots=True)
class SettingsChange:
    """A change of settings: those to follow, the keys that differ, and the keys that wait."""

    settings: Settings
    followed: tuple[str, ...]
    waiting: tuple[str, ...]


def change(running: Settings, wanted: Settings) -> SettingsChange:
    """
    Work out which of the wanted settings a running Peitho follows.

    An account belongs to its registry: it waits with it, so that no other registry sees it. A token
    of the status page that is taken away waits with the listeners, so that a certificate that takes
    its place does not leave the page open until then; one that is given counts at once.
    """
    now = dict(_values(running))
    differing = [
        key
        for key, value in _values(wanted)
        if not _same(value, now[key]) and key not in MEANINGLESS and key != _TENANTS
    ]
    waiting = [key for key in differing if key in NEED_RESTART]
    if any(key.startswith(_REGISTRY) for key in waiting):
        waiting = [key for key in differing if key in waiting or key.startswith(_REGISTRY)]
    is_taken_away = wanted.server.operations_token_file is None
    if is_taken_away and any(key.startswith(_SERVER) for key in waiting):
        waiting = [key for key in differing if key in waiting or key == _PAGE_TOKEN]
    tenants = _tenants_change(running.access.tenants, wanted.access.tenants)
    merged = _merged(running, wanted, frozenset(waiting))
    access = merged.access.model_copy(update={"tenants": tenants.tenants})
    return SettingsChange(
        merged.model_copy(update={"access": access}),
        followed=(*(key for key in differing if key not in waiting), *tenants.followed),
        waiting=(*waiting, *tenants.waiting),
    )


@dataclass(frozen=True, slots=True)
class _TenantsChange:
    """A change of tenants: those to go on with, and the keys as `SettingsChange` has them."""

    tenants: Tenants
    followed: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()


def _tenants_change(running: Tenants, wanted: Tenants) -> _TenantsChange:
    """
    Work out which tenants a running Peitho goes on with.

    Who they are and what they may do is followed. A new one, and another namespace, wait, since its
    parts are put together at the start. One that is gone is let in no more, at once.
    """
    if bool(running) != bool(wanted):  # whoever comes in, or those with a certificate
        return _TenantsChange(running, waiting=(_TENANTS,))
    tenants, waiting = {}, [f"{_TENANTS}.{name}" for name in wanted if name not in running]
    for name, now in running.items():
        then = wanted.get(name)
        if then is None:
            waiting.append(f"{_TENANTS}.{name}")
            then = now.model_copy(update={"match": ()})
        elif then.namespace != now.namespace:
            waiting.append(f"{_TENANTS}.{name}.namespace")
            then = then.model_copy(update={"namespace": now.namespace})
        tenants[name] = then
    followed = tuple(f"{_TENANTS}.{name}" for name in running if tenants[name] != running[name])
    return _TenantsChange(tenants, followed, tuple(waiting))


def _values(section: Section, above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield all settings by their keys."""
    for name, field in type(section).model_fields.items():
        key, value = f"{above}{field.alias or name}", getattr(section, name)
        if isinstance(value, Section):
            yield from _values(value, f"{key}.")
        else:
            yield key, value


def _merged(running: S, wanted: S, waiting: frozenset[str], above: str = "") -> S:
    """Return the wanted section, with the running values of keys that wait."""
    changes: dict[str, Any] = {}
    for name, field in type(wanted).model_fields.items():
        key, value = f"{above}{field.alias or name}", getattr(running, name)
        if isinstance(value, Section):
            changes[name] = _merged(value, getattr(wanted, name), waiting, f"{key}.")
        elif key in waiting:
            changes[name] = value
    return wanted.model_copy(update=changes)


def _same(one: object, other: object) -> bool:
    """Whether two values mean the same; the order of a table counts, for its first match does."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return list(one.items()) == list(other.items())
    return one == other
