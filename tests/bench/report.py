"""What was measured, and how it is written down: a table for readers, JSON for programs."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_ABOUT = (
    "`make bench` measures this, and writes this page anew, beside its own figures as JSON.  A row "
    "has the median of its runs, and the lowest and highest of them.  Figures of another machine "
    "are others: compare what is in neighboring rows, which took turns."
)
_HEADINGS = ("", "what", "runs", "median", "min", "max", "unit", "target")


@dataclass(frozen=True, slots=True)
class Row:
    """One thing measured: a value for each run, and the most that the median may be, if any."""

    part: str
    what: str
    unit: str
    values: tuple[float, ...]
    at_most: float | None = None

    @property
    def median(self) -> float:
        """The middle of the values."""
        return statistics.median(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        return None if self.at_most is None else self.median <= self.at_most


@dataclass(slots=True)
class Report:
    """
    All rows so far, the machine they are of, and a word on how each part was measured.

    `more` is what the page says below the table.
    """

    machine: Mapping[str, str]
    rows: list[Row] = field(default_factory=list)
    how: dict[str, str] = field(default_factory=dict)
    more: list[str] = field(default_factory=list)

    def write(self, folder: Path) -> None:
        """`bench.md` and `bench.json`, in place of earlier ones."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "bench.md").write_text(self.markdown())
        (folder / "bench.json").write_text(json.dumps(self.as_json(), indent=2) + "\n")

    def markdown(self) -> str:
        """The page: the table, the machine, and how it was measured."""
        machine = [f"- {name}: {value}" for name, value in self.machine.items()]
        how = [f"- ({part}) {text}" for part, text in self.how.items()]
        table = markdown_table(_HEADINGS, [_cells(row) for row in self.rows])
        parts = ["# Benchmarks", _ABOUT, table, *self.more, "## Machine", "\n".join(machine)]
        return "\n\n".join([*parts, "## How it was measured", "\n".join(how)]) + "\n"

    def as_json(self) -> dict[str, Any]:
        """The same, with the value of every run."""
        rows = [_row_as_json(row) for row in self.rows]
        return {"machine": dict(self.machine), "rows": rows, "how": self.how}


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose columns are as wide as what is in them."""
    lines = [headings, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    rule = ["-" * width for width in widths]
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |"
        for line in (headings, rule, *rows)
    )


def _cells(row: Row) -> tuple[str, ...]:
    values = (row.median, min(row.values), max(row.values))
    return (
        row.part,
        row.what,
        str(len(row.values)),
        *(number(each) for each in values),
        row.unit,
        _target(row),
    )


def _target(row: Row) -> str:
    if row.at_most is None:
        return ""
    return f"at most {number(row.at_most)}: {'met' if row.met else 'NOT MET'}"


def number(value: float) -> str:
    """A number in three digits."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _row_as_json(row: Row) -> dict[str, Any]:
    return {
        "part": row.part,
        "what": row.what,
        "unit": row.unit,
        "runs": len(row.values),
        "median": row.median,
        "min": min(row.values),
        "max": max(row.values),
        "values": list(row.values),
        "at_most": row.at_most,
        "met": row.met,
    }
