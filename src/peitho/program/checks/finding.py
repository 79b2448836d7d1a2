"""A line of `peitho check`: what was looked at, how it is, and what to do about it."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "wrong"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line; `do` is what helps, and empty where nothing has to be done."""

    name: str
    status: Status
    said: str
    do: str = ""


def ok(name: str, said: str) -> Finding:
    """All is well."""
    return Finding(name, "ok", said)


def warning(name: str, said: str, do: str) -> Finding:
    """It works, and somebody should look at it."""
    return Finding(name, "warning", said, do)


def wrong(name: str, said: str, do: str) -> Finding:
    """Something will not work."""
    return Finding(name, "wrong", said, do)
