"""Checks on the page: the lines of `/readyz?verbose`, and what `peitho check` would say."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from peitho.api.page import layout
from peitho.api.page.html import Content, Html, element, joined
from peitho.api.page.layout import Column, Look

PATH = "status/checks"

_PARTS = (Column("Part", is_name=True), Column("State"), Column("What is wrong"))
_CHECKS = (
    Column("Check", is_name=True),
    Column("State"),
    Column("What was found"),
    Column("What to do"),
)
_MARKS = {"[+]": "ok", "[!]": "warning", "[-]": "wrong"}
_ORDER = ("wrong", "warning", "ok")


@dataclass(frozen=True, slots=True)
class Found:
    """A line of a check: `status` is `ok`, `warning` or `wrong`."""

    name: str
    status: str
    said: str
    do: str = ""


@dataclass(frozen=True, slots=True)
class Checked:
    """What the checks found last; `at` is Unix time, and 0 before they were made once."""

    found: Sequence[Found] = ()
    at: float = 0.0
    is_running: bool = False


# Tells what was found last, and has the checks made anew if that is long ago.
Checks = Callable[[], Checked]


def no_checks() -> Checked:
    """Where nobody makes any."""
    return Checked()


def summary(parts: Sequence[str], checked: Checked) -> str:
    """Return the worst of all in a sentence."""
    states = [_state(line) for line in parts] + [each.status for each in checked.found]
    wrong, warnings = states.count("wrong"), states.count("warning")
    if not wrong and not warnings:
        return "Checks: nothing is wrong"
    return f"Checks: {wrong} wrong, {warnings} to look at"


def parts(lines: Sequence[str]) -> Html:
    """Return the table of Peitho's parts."""
    rows = sorted(map(_part, lines), key=lambda row: _ORDER.index(row[1]))
    return layout.table(
        "Peitho's parts, and what is around it, those with a problem first",
        _PARTS,
        [(name, layout.state(state), said) for name, state, said in rows],
        none="Nothing is known yet.",
    )


def findings(look: Look, checked: Checked) -> Html:
    """Return the table of what was found."""
    found = sorted(checked.found, key=lambda each: _ORDER.index(each.status))
    rows: list[list[Content]] = [
        [
            layout.cut(each.name),
            layout.state(each.status),
            layout.cut(each.said, 1000),
            layout.cut(each.do, 1000),
        ]
        for each in found
    ]
    said: list[Content] = ["They are being made now."] if checked.is_running else []
    if checked.at:
        made = look.ago(checked.at) if time.time() - checked.at >= 1 else Html("0s")
        said = ["Made ", made, " ago, without a Pod. ", *said]
    more = "peitho check, run in Peitho's Pod, tries images and delivery with Pods, too."
    return joined(
        [
            element("p", *said, " ", more),
            layout.table(
                "What the checks found, what is wrong first",
                _CHECKS,
                rows,
                none="No check has been made yet: look again in a moment.",
            ),
        ]
    )


def _part(line: str) -> tuple[str, str, str]:
    """Take a line apart, as `readiness` makes them."""
    state = _state(line)
    said = line[3:]
    if state == "ok":
        return said.removesuffix(" ok"), state, ""
    name, _, cause = said.partition(": ")
    if name.startswith("docker api is open"):
        return "docker api", state, said.removeprefix("docker api is ")
    return name, state, cause


def _state(line: str) -> str:
    return _MARKS.get(line[:3], "warning")
