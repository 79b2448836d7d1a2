"""How rows are shown: a table for people, JSON or YAML for programs."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import click
import yaml

from peitho.formats import readable
from peitho.formats.readable import plain

Row = Mapping[str, Any]

TABLE, WIDE, JSON, YAML, NAME = OUTPUTS = ("table", "wide", "json", "yaml", "name")

_GAP = "   "
_CUT_CHARACTERS = 40
_COLORS = {"running": "green", "starting": "yellow", "waiting": "yellow", "fetching": "green"}
_BAD = "red"


@dataclass(frozen=True, slots=True)
class Column:
    """
    A column of a table: its head, and the cell of a row.

    It is `wide` if only the wide table has it; only there cells are never cut.
    """

    head: str
    cell: Callable[[Row], str]
    is_wide: bool = False
    is_cut: bool = False


def column(head: str, key: str, *, is_wide: bool = False, is_cut: bool = False) -> Column:
    """Return a column of what rows have under a key."""
    return Column(head, lambda row: _text(row.get(key)), is_wide, is_cut)


def rendered(rows: Sequence[Row], columns: Sequence[Column], output: str, *, none: str) -> str:
    """Return the rows in the form that is asked for; `none` is what people read without any."""
    if output == JSON:
        return json.dumps(list(rows), indent=2) + "\n"
    if output == YAML:
        return str(yaml.safe_dump([dict(row) for row in rows], sort_keys=False))
    if output == NAME:
        return "".join(f"{plain(row['name'])}\n" for row in rows)
    if not rows:
        return f"{none}\n"
    return table(rows, columns, is_wide=output == WIDE)


def table(rows: Sequence[Row], columns: Sequence[Column], *, is_wide: bool = False) -> str:
    """Return a table with a head, as kubectl has it, so that `awk` and `grep` read it, too."""
    shown = [each for each in columns if is_wide or not each.is_wide]
    cells = [[each.head for each in shown]]
    for row in rows:
        texts = (plain(each.cell(row)) or "-" for each in shown)
        cells.append(
            [
                _cut(text) if each.is_cut and not is_wide else text
                for each, text in zip(shown, texts, strict=True)
            ]
        )
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "".join(_line(line, widths, is_head=number == 0) for number, line in enumerate(cells))


def age(moment: str | float | None) -> str:
    """Return how long ago something was, as kubectl has it (`5m12s`); empty if nobody knows."""
    return readable.age(moment, now=datetime.now(UTC).timestamp())


def _line(cells: Sequence[str], widths: Sequence[int], *, is_head: bool) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
    padded[-1] = padded[-1].rstrip()
    if is_head:
        return click.style(_GAP.join(padded), bold=True) + "\n"
    colored = [
        click.style(text, fg=color) if (color := _color(cell)) else text
        for cell, text in zip(cells, padded, strict=True)
    ]
    return _GAP.join(colored).rstrip() + "\n"


def _color(cell: str) -> str | None:
    if cell in _COLORS:
        return _COLORS[cell]
    return _BAD if cell in ("failed", "damaged", "Warning") else None


def _cut(text: str) -> str:
    return text if len(text) <= _CUT_CHARACTERS else f"{text[: _CUT_CHARACTERS - 1]}…"


def _text(value: object) -> str:
    return "" if value is None else str(value)
