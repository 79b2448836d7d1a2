"""YAML with comments behind its lines."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

_WIDEST_CHARACTERS = 10**9
Keys = tuple[str, ...]


def render(tree: Mapping[str, Any], comments: Mapping[Keys, str]) -> str:
    """
    Write a tree as YAML, with comments by the keys that lead to a value.

    There are no comments below a commented key.
    """
    return "".join(f"{line}\n" for line in _lines(tree, comments, ()))


def _lines(tree: Mapping[str, Any], comments: Mapping[Keys, str], above: Keys) -> Iterator[str]:
    indent = "  " * len(above)
    for key, value in tree.items():
        keys = (*above, key)
        name = f"{indent}{_dumped(key)}:"
        if isinstance(value, dict) and value and keys not in comments:
            yield name
            yield from _lines(value, comments, keys)
            continue
        comment = f"  # {comments[keys]}" if keys in comments else ""
        if isinstance(value, dict | list) and value:
            yield f"{name}{comment}"
            block = yaml.safe_dump(value, sort_keys=False, width=_WIDEST_CHARACTERS)
            yield from (f"{indent}  {line}" for line in block.splitlines())
        else:
            yield f"{name} {_dumped(value)}{comment}"


def _dumped(value: object) -> str:
    """Write a scalar, or an empty list or map, on one line."""
    style = '"' if isinstance(value, str) and not value.isprintable() else None
    dumped = yaml.safe_dump(value, width=_WIDEST_CHARACTERS, default_style=style)
    return str(dumped).removesuffix("\n...\n").rstrip("\n")
