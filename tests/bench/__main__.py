"""
`make bench`: what Peitho costs, beside the same work done without it, on this machine.

Writes the table, what of the goals is reached, and the machine's description to stdout, `bench.md`
and `bench.json`.
"""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from tests.bench import (
    again,
    compiled,
    crashes,
    downloaded,
    goals,
    install,
    launches,
    machine,
    memory,
    modes,
    named,
    pings,
    registry,
    scale,
    starts,
)
from tests.bench.place import Place
from tests.bench.report import Report, Row
from tests.lab import cluster as lab
from tests.lab import images, peer
from tests.lab.machine import CACHE


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the benchmark: how it measures, in words and as a function."""

    how: str
    measure: Callable[[Place], Awaitable[list[Row]]]


PARTS = {
    "a": Part(install.HOW, install.measure),
    "b": Part(starts.HOW, starts.measure),
    "c": Part(pings.HOW, pings.measure),
    "d": Part(memory.HOW, memory.measure),
    "e": Part(registry.HOW, registry.measure),
    "f": Part(again.HOW, again.measure),
    "g": Part(modes.HOW, modes.measure),
    "h": Part(scale.HOW, scale.measure),
    "i": Part(named.HOW, named.measure),
    "j": Part(compiled.HOW, compiled.measure),
    "k": Part(launches.HOW, launches.measure),
    "l": Part(crashes.HOW, crashes.measure),
    "m": Part(downloaded.HOW, downloaded.measure),
}


async def bench(parts: list[str], *, runs: int, out: Path) -> None:
    """Measure the parts one after the other; what is there is written after each."""
    was_up = lab.is_up()
    cluster = lab.up()
    try:
        images.ensure()
        images.ensure_peitho()
        peer.build_peers()
        peer.build_chaincode("go")
        report = Report(machine.describe(cluster))
        for letter in parts:
            report.rows += await PARTS[letter].measure(Place(cluster, runs))
            report.how[letter] = PARTS[letter].how
            report.more = ["## Goals", goals.ABOUT, goals.table(report.rows)]
            report.write(out)
    finally:
        if not was_up:
            lab.down()
    print(f"\n{report.markdown()}\nwritten to {out}/bench.md and {out}/bench.json")


def _parts(text: str) -> list[str]:
    letters = sorted(set(text.split(",")))
    if unknown := [each for each in letters if each not in PARTS]:
        raise argparse.ArgumentTypeError(f"no such part: {', '.join(unknown)}")
    return letters


def _runs(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError("must be a number from 1 on")
    return int(text)


def main() -> int:
    """0 if all was measured; 1 with the cause."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--runs", type=_runs, default=5, help="runs of each measurement")
    parser.add_argument("--only", type=_parts, default=list(PARTS), help="parts, as a,b,e")
    parser.add_argument(
        "--goals",
        action="store_const",
        dest="only",
        const=goals.PARTS,
        help="only the parts that the goals are measured by",
    )
    parser.add_argument("--out", type=Path, default=CACHE / "bench", help="folder for the results")
    options = parser.parse_args()
    try:
        asyncio.run(bench(options.only, runs=options.runs, out=options.out))
    except Exception as error:  # noqa: BLE001  whatever it was, the caller is told of it
        print(f"\nThe benchmark failed: {_cause(error)}", file=sys.stderr)
        return 1
    return 0


def _cause(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_cause(each) for each in error.exceptions)
    return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    sys.exit(main())
