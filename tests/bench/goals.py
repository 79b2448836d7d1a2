"""What is to be reached by the times that are measured, and whether it is."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.bench.downloaded import KEPT
from tests.bench.install import PEITHO
from tests.bench.report import Row, markdown_table, number

ABOUT = (
    "What is to be reached, by what was measured in this run.  `measured` is the median, with the "
    "worst where that has a goal; what it is compared with is what took turns with it."
)
_HEADINGS = ("#", "what", "goal", "measured", "compared with", "it was", "result")
_MISSED = "NOT MET"


@dataclass(frozen=True, slots=True)
class Goal:
    """
    One goal: what is measured, and the most that its median may be.

    With `times` or `plus`, what is `compared` with counts so often, or so much more; `worst` is the
    most of any run.
    """

    row: int
    part: str
    measured: str
    at_most: float | None = None
    compared: str = ""
    times: float | None = None
    plus: float | None = None
    worst: float | None = None

    @property
    def words(self) -> str:
        """The goal, as it is written."""
        if self.times is not None:
            return f"{number(self.times)} times"
        if self.plus is not None:
            return f"{number(self.plus)} more"
        worst = "" if self.worst is None else f", worst {number(self.worst)}"
        return f"{number(self.at_most or 0)}{worst}"


def _later(row: int, part: str, language: str, side: str, times: float) -> Goal:
    what = f"install of a {language} package, second and later"
    return Goal(row, part, f"{what}, {side}", compared=f"{what}, dockerd", times=times)


_BARE = "create to process, bare Pod"
_CRASH = "crash to next call answered"
_START = "8 at a time"
GOALS = (
    _later(1, "j", "Go", PEITHO, 0.35),
    _later(2, "m", "Node", PEITHO, 0.5),
    _later(2, "m", "Java (Maven)", KEPT, 0.5),
    _later(2, "m", "Java (Gradle)", KEPT, 0.5),
    Goal(3, "f", "install of a Go package again, Pods x delivery, calls alone", 0.3),
    Goal(4, "l", f"{_CRASH}, delivery", 0.9, f"{_CRASH}, dockerd", worst=1.5),
    Goal(5, "b", "create to process, Peitho", compared=_BARE, plus=0.4),
    Goal(5, "g", "create to process, registry, image on the node", compared=_BARE, plus=0.15),
    Goal(6, "k", "layer of 45000 files, launch", 5.0),
    Goal(6, "k", "layer of 45000 files, launch at 100m", 15.0),
    Goal(7, "k", "output of 60000 files, hand-over", 10.0),
    Goal(8, "k", "exit to wait answered", 0.2),
    Goal(
        9,
        "d",
        f"start of 100 chaincodes, {_START}",
        compared=f"start of 100 bare Pods, {_START}",
        times=1.3,
    ),
)
PARTS = sorted({goal.part for goal in GOALS} | {"b"})


def table(rows: Iterable[Row]) -> str:
    """A line for each goal; one of which nothing was measured says so."""
    found = {row.what: row for row in rows}
    return markdown_table(_HEADINGS, [_line(goal, found) for goal in GOALS])


def _line(goal: Goal, found: dict[str, Row]) -> Sequence[str]:
    measured, compared = found.get(goal.measured), found.get(goal.compared)
    start = (str(goal.row), goal.measured, goal.words)
    other = f"{goal.compared}: {number(compared.median)} {compared.unit}" if compared else ""
    if measured is None:
        return (*start, "", other, "", "not measured")
    if goal.worst is None:
        said = f"{number(measured.median)} {measured.unit}"
    else:
        said = f"{number(measured.median)} {measured.unit}, worst {number(max(measured.values))}"
    taken = _taken(measured, compared)
    is_met = _is_met(goal, measured, compared)
    result = "not measured" if is_met is None else "met" if is_met else _MISSED
    return (*start, said, other, taken, result)


def _taken(measured: Row, compared: Row | None) -> str:
    if compared is None:
        return ""
    ratio, more = measured.median / compared.median, measured.median - compared.median
    return f"{number(ratio)} times, {more:+.2f} {measured.unit}"


def _is_met(goal: Goal, measured: Row, compared: Row | None) -> bool | None:
    """Whether a goal is reached; None where what it is compared with is missing."""
    median = statistics.median(measured.values)
    if goal.times is not None:
        return None if compared is None else median <= goal.times * compared.median
    if goal.plus is not None:
        return None if compared is None else median <= compared.median + goal.plus
    is_worst = goal.worst is not None and max(measured.values) > goal.worst
    return not is_worst and median <= (goal.at_most or 0.0)
