"""Accounts at a registry."""

from pathlib import Path

from peitho.clients.registry.registries import RegistryAccount, RegistryAccountOptions
from peitho.settings.live import Live


def account(
    username: str = "",
    password: str = "",
    username_file: Path | None = None,
    password_file: Path | None = None,
) -> RegistryAccount:
    """One that is never replaced by another."""
    options = RegistryAccountOptions(username, password, username_file, password_file)
    return RegistryAccount(Live(options))
