"""
`docs/reference/settings.md`, made from the settings themselves.

`python -m tests.unit.settings_reference > docs/reference/settings.md` writes it anew.
"""

import ast
import json
import sys
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, SecretStr

from peitho import cli
from peitho.settings import changes, loading, models
from peitho.settings.models import OverrideSettings, Settings, Tenants
from peitho.settings.values import (
    Address,
    Endpoint,
    Format,
    HostAliases,
    HostNames,
    Image,
    ImagePatterns,
    Level,
    ObjectName,
    Quantity,
    Rewrites,
    Template,
    UserId,
    Words,
)

_COLUMNS = 100
_HEAD = """\
# Settings

Settings come from one YAML file (`--config`, or `PEITHO_CONFIG`). `PEITHO_...` variables go over
the file, and flags over both. A variable with `_FILE` behind its name holds the path of a file with
the value, and goes over the variable without it. A list or a map is written as YAML in a variable:
`PEITHO_K8S_DNS='["10.0.0.1:peer0.org1.example.com"]'`.

A key of the file that is not on this page is an error; a variable that is not is not looked at.
Every problem is told at once, with its key, before anything is started, and the exit status is 2.
`peitho config` prints what is in effect, secrets masked, and behind each line where it is from.

Peitho notices a changed file within a few seconds, and SIGHUP at once, and follows it
([the guide](../guides/change-settings.md)). What has *needs a restart* behind it stays as it was
until then.

Files, variables and flags of the Go project of the same name are read as they are. What has no
meaning here is named in one warning: see [the guide](../guides/migrate-from-go-peitho.md).

<!-- Made by `python -m tests.unit.settings_reference`; do not edit. -->
"""
# What may be written for a type; numbers, texts and choices speak for themselves.
_ALLOWED: tuple[tuple[object, str], ...] = (
    (ImagePatterns, "a list of image patterns, or null"),
    (Address, "`HOST:PORT` with the host as an IP address, or `:PORT`"),
    (Endpoint, "`unix:///PATH`, `tcp://HOST:PORT`, or empty"),
    (HostAliases, "a list of `IP:HOST`"),
    (HostNames, "a list of names"),
    (Image, "an image"),
    (ObjectName | None, "the name of an object, empty, or null"),
    (Words, "a list of words"),
    (Level, "`debug`, `info`, `warn` or `error`"),
    (Format, "`auto`, `console` or `json`"),
    (UserId | None, "a whole number from 0, or null"),
    (Mapping[str, UserId | None], "a map of image patterns to whole numbers from 0, or null"),
    (Template, "a map with `metadata` and `spec` of a Pod template"),
    (Tenants, "a map of names to maps, as the [guide](../guides/tenants.md) has them"),
    (tuple[OverrideSettings, ...], "a list of maps with `match` and `template`"),
    (Rewrites, "a map of image patterns to images"),
    (Quantity, "a Kubernetes quantity such as `500m` or `1Gi`, or empty"),
    (Path, "a path"),
    (Path | None, "a path, or null"),
    (bool, "`true` or `false`"),
    (float, "a number"),
    (int, "a whole number"),
    (str, "text"),
    (str | None, "text, or null"),
    (SecretStr, "text, never shown"),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One setting of the reference."""

    key: str
    variable: str
    allowed: str
    default: str
    meaning: str
    note: str = ""

    def render(self) -> str:
        """The setting as Markdown."""
        names = [f"`{self.variable}`", *(f"`{flag}`" for flag in _flags().get(self.key, ()))]
        facts = f"{', '.join(names)}. {self.allowed[:1].upper()}{self.allowed[1:]}; "
        facts += f"default {self.default}{self.note}."
        level = "###" if "." in self.key else "##"
        return f"{level} `{self.key}`\n\n{_wrapped(self.meaning)}\n\n{_wrapped(facts)}\n"


def render() -> str:
    """The page."""
    parts = [_HEAD]
    section = ""
    for model, keys, entry in _entries(Settings):
        if len(keys) > 1 and keys[0] != section:
            section = keys[0]
            parts.append(f"## `{section}`\n\n{_wrapped(str(model.__doc__).strip())}\n")
        parts.append(entry.render())
    return "\n".join(parts)


def _entries(
    model: type[BaseModel], above: tuple[str, ...] = (), inherited: str = ""
) -> Iterator[tuple[type[BaseModel], tuple[str, ...], Entry]]:
    meanings = _meanings()[model.__name__]
    hints = typing.get_type_hints(model, include_extras=True)
    for name, field in model.model_fields.items():
        keys = (*above, field.alias or name)
        kind = field.annotation
        meaning = meanings.get(name, inherited)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _entries(kind, keys, meaning)
            continue
        bounds, key = _bounds(field.metadata), ".".join(keys)
        yield (
            model,
            keys,
            Entry(
                key=key,
                variable=_variables()[keys],
                allowed=_allowed(hints[name]) + bounds,
                default=_default(field.get_default(call_default_factory=True)),
                meaning=meaning or f"{model.__doc__}",
                note="; *needs a restart*" if key in changes.NEED_RESTART else "",
            ),
        )


def _allowed(hint: Any) -> str:
    for known, words in _ALLOWED:
        if hint == known:
            return words
    if typing.get_origin(hint) is Literal:
        return " or ".join(f"`{each}`" for each in typing.get_args(hint))
    if typing.get_origin(hint) is typing.Annotated:
        return _allowed(typing.get_args(hint)[0])
    raise ValueError(f"say in _ALLOWED what may be written for {hint}")


def _bounds(metadata: list[Any]) -> str:
    found = []
    for each in metadata:
        for name, word in (("gt", "above"), ("ge", "from"), ("lt", "below")):
            bound = getattr(each, name, None)
            if bound is not None and not isinstance(each, types.FunctionType):
                found.append(f"{word} {bound}")
        if pattern := getattr(each, "pattern", None):
            found.append(f"that matches `{pattern}`")
    return f" {' and '.join(found)}" if found else ""


def _default(value: object) -> str:
    if value in ("", (), {}, SecretStr("")):
        return "empty"
    if isinstance(value, str | Path):
        return f"`{value}`"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"`{json.dumps(value)}`"


def _wrapped(text: str) -> str:
    plain = " ".join(text.split())
    return textwrap.fill(plain, _COLUMNS, break_long_words=False, break_on_hyphens=False)


def _meanings() -> dict[str, dict[str, str]]:
    """The docstring below each attribute, by class and name."""
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(Path(str(models.__file__)).read_text()).body:
        if not isinstance(node, ast.ClassDef):
            continue
        below = found.setdefault(node.name, {})
        for attribute, text in zip(node.body, node.body[1:], strict=False):
            match attribute, text:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(said))),
                ):
                    below[name] = said
                case _:
                    pass
    return found


def _variables() -> dict[tuple[str, ...], str]:
    return {leaf.keys: leaf.variable for leaf in loading.setting_keys()}


def _flags() -> dict[str, tuple[str, ...]]:
    return {flag.key: flag.names for flag in cli.FLAGS}


if __name__ == "__main__":
    sys.stdout.write(render())
