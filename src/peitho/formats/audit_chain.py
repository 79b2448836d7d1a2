"""
Lines of an audit file: JSON objects, each with the sha256 of the line before it.

A line that is changed, taken out, put in or moved breaks the chain there.  What is cut off at the
end does not: for that, keep the last digest elsewhere.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

# What the first line of all has in place of a digest.
BEGINNING = "0" * 64
_LOGGER = "peitho.audit"


@dataclass(slots=True)
class Chain:
    """The end of a chain, to which lines are added."""

    number: int = 0
    digest: str = BEGINNING

    def add(self, event: Mapping[str, object]) -> bytes:
        """Return the next line, with its end of line."""
        self.number += 1
        head = {"logger": _LOGGER, "number": self.number, "previous": self.digest}
        line = json.dumps(head | dict(event)).encode()
        self.digest = _digest(line)
        return line + b"\n"

    @classmethod
    def after(cls, line: bytes) -> "Chain | None":
        """Return the chain that a line ends, without its end of line; None if it is no line."""
        event = _parsed(line)
        return cls(event["number"], _digest(line)) if event else None


@dataclass(slots=True)
class Verification:
    """Reads lines, and tells where they are not as they were written."""

    lines: int = 0
    first: int = 0
    since: str = ""
    until: str = ""
    _chain: Chain | None = field(default=None)

    @property
    def digest(self) -> str:
        """The sha256 of the last line."""
        return self._chain.digest if self._chain else BEGINNING

    def problems(self, lines: Iterable[bytes]) -> Iterator[str]:
        """Read all lines; yields what is wrong. Lines of the log between them do not count."""
        for at, line in enumerate(lines, 1):
            text = line.rstrip(b"\n")
            event = _parsed(text)
            if event is None:
                if text and _LOGGER.encode() in text:
                    yield f"line {at} is cut or damaged"
                continue
            yield from self._compare(at, event)
            self._chain = Chain(event["number"], _digest(text))
            self._count(event)

    def summary(self) -> str:
        """What was read, in a sentence."""
        if not self.lines:
            return "no line of an audit trail"
        return (
            f"{self.lines} lines from number {self.first}, {self.since} to {self.until}; "
            f"the last has the sha256 {self.digest}"
        )

    def _compare(self, at: int, event: Mapping[str, Any]) -> Iterator[str]:
        number, previous = event["number"], event["previous"]
        chain = self._chain or Chain()
        if self._chain is None and number > 1:  # an earlier file has what was before
            return
        if number != chain.number + 1:
            yield f"line {at} has the number {number}, where {chain.number + 1} is due"
        elif previous != chain.digest:
            yield f"line {at} does not follow from the line before: one of the two was changed"

    def _count(self, event: Mapping[str, Any]) -> None:
        self.lines += 1
        self.until = str(event.get("time", ""))
        if self.lines == 1:
            self.first, self.since = event["number"], self.until


def _digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def _parsed(line: bytes) -> dict[str, Any] | None:
    """The event of a line; None for any other."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict) or event.get("logger") != _LOGGER:
        return None
    number, previous = event.get("number"), event.get("previous")
    is_whole = isinstance(number, int) and number > 0 and isinstance(previous, str)
    return event if is_whole else None
