"""Which settings a running Peitho follows when they change, and which need a restart."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from peitho.settings.loading import MEANINGLESS
from peitho.settings.models import Section, Settings

# What these open, name or mount at the start stays as it is.  All other keys are followed;
# tests/unit/program/test_composition.py holds each against the options that the parts read.
NEED_RESTART = frozenset(
    {
        "dataDir",
        "server.api",
        "server.delivery",
        "server.operations",
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

    An account belongs to its registry: it waits with it, so that no other registry sees it.
    """
    now = dict(_values(running))
    differing = [
        key
        for key, value in _values(wanted)
        if not _same(value, now[key]) and key not in MEANINGLESS
    ]
    waiting = [key for key in differing if key in NEED_RESTART]
    if any(key.startswith(_REGISTRY) for key in waiting):
        waiting = [key for key in differing if key in waiting or key.startswith(_REGISTRY)]
    return SettingsChange(
        _merged(running, wanted, frozenset(waiting)),
        followed=tuple(key for key in differing if key not in waiting),
        waiting=tuple(waiting),
    )


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
