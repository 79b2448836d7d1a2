"""
Tenants: callers that know nothing of each other, each with settings of its own.

Without any in the settings there is one, `default`, for whoever comes in. What was there before
there were tenants is that one's.
"""

from collections.abc import Iterator

from peitho.settings.models import Settings

DEFAULT = "default"


def names(settings: Settings) -> tuple[str, ...]:
    """Return the names of all tenants; `default` is always there, and the first."""
    del settings
    return (DEFAULT,)


def settings_of(settings: Settings, *, tenant: str) -> Settings:
    """Return the settings by which the parts of one tenant go."""
    del tenant
    return settings


def each(settings: Settings) -> Iterator[tuple[str, Settings]]:
    """Yield the name and the settings of each tenant."""
    for name in names(settings):
        yield name, settings_of(settings, tenant=name)
