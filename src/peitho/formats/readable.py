"""How times, sizes and other people's words are written for people."""

import re
from datetime import datetime
from itertools import pairwise

# What moves a terminal's cursor or changes its colors, or turns the direction of a line: callers
# choose names, and chaincode its words.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]+")
_BUT_LINES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]+")
# A terminal's commands, such as those for colors (ECMA-48, 5.4).
_COMMAND = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))
_BYTES = ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"))


def plain(text: str) -> str:
    """Return a text on one line, without what would change a terminal."""
    return _CONTROL.sub(" ", text).strip()


def plain_lines(text: str) -> str:
    """Return a text with its lines, without a terminal's commands and control characters."""
    return _BUT_LINES.sub(" ", _COMMAND.sub("", text.replace("\r\n", "\n").replace("\r", "\n")))


def age(moment: str | float | None, *, now: float) -> str:
    """Return how long ago something was, as kubectl has it (`5m12s`); empty if nobody knows."""
    if not moment:
        return ""
    try:
        at = moment if isinstance(moment, float) else datetime.fromisoformat(moment).timestamp()
    except (ValueError, TypeError, OverflowError):
        return ""
    return duration(now - at)


def duration(seconds: float) -> str:
    """Return a time in its largest unit and the next, the latter only where it counts."""
    left = max(0, int(seconds))
    for (unit, letter), (smaller, small_letter) in pairwise(_UNITS):
        if left >= unit:
            count, rest = divmod(left, unit)
            more = rest // smaller if count < 10 else 0  # noqa: PLR2004  one digit, as kubectl
            return f"{count}{letter}{more}{small_letter}" if more else f"{count}{letter}"
    return f"{left}s"


def size(size_bytes: int) -> str:
    """Return a number of bytes as people read it."""
    for unit, name in _BYTES:
        if size_bytes >= unit:
            return f"{size_bytes / unit:.1f} {name}"
    return f"{size_bytes} B"
