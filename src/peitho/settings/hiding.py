"""
Secrets among the flags: every user of a machine reads the command line of a process.

So a process that is to live long starts itself anew with them in the environment, which its own
user alone reads; it is the same process, and what the settings say stays.
"""

import os
from collections.abc import Mapping, Sequence

from peitho.settings.loading import SettingKey, setting_keys


def secret_keys() -> list[SettingKey]:
    """Return the settings that are secret."""
    return [leaf for leaf in setting_keys() if leaf.is_secret]


def without_secrets(
    command: Sequence[str], secrets: Mapping[str, SettingKey]
) -> tuple[list[str], dict[str, str]]:
    """
    Return a command line without its secret flags, and the variables that say the same.

    `secrets` are settings by their flags, each of which may be `--flag=value` or `--flag value`.
    """
    kept: list[str] = []
    variables: dict[str, str] = {}
    words = iter(command)
    for word in words:
        name, separator, value = word.partition("=")
        if name in secrets:
            variables[secrets[name].variable] = value if separator else next(words, "")
        else:
            kept.append(word)
    return kept, variables


def start_anew(command: Sequence[str], secrets: Mapping[str, SettingKey]) -> None:
    """Start this process anew if there are secrets in its command line; else return."""
    kept, variables = without_secrets(command, secrets)
    if variables:
        others = {f"{name}_FILE" for name in variables}  # which would count before
        environment = {
            name: value
            for name, value in (os.environ | variables).items()  # noqa: TID251  handed on
            if name not in others
        }
        os.execvpe(kept[0], kept, environment)  # noqa: S606  our own command line
