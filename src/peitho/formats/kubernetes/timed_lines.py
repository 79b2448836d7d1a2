"""
The lines of a Pod's log that were written in a time, with or without their timestamps.

The kubelet puts a timestamp and a space before each line, `2026-01-02T03:04:05.678901234Z`, in its
own time zone; Docker's are in UTC.
"""

import re
from datetime import UTC, datetime

NANOSECONDS = 1_000_000_000

LONGEST_BYTES = 64
_TIMESTAMP = re.compile(
    rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d) ", re.ASCII
)


class TimedLines:
    """Picks lines out of a log with timestamps; a line that has none goes with the one before."""

    def __init__(
        self, *, since_nanoseconds: int = 0, until_nanoseconds: int = 0, timestamps: bool = False
    ) -> None:
        self._since = since_nanoseconds
        self._until = until_nanoseconds
        self._timestamps = timestamps
        self._beginning: bytes | None = b""  # None in the middle of a line
        self._is_asked = True

    def feed(self, data: bytes) -> bytes:
        """Return what is asked for of these bytes; they may be cut anywhere."""
        asked = []
        for piece in cut_lines(data):
            line = self._line(piece)
            if self._is_asked:
                asked.append(line)
        return b"".join(asked)

    def _line(self, piece: bytes) -> bytes:
        """Take a part of a line, and return what there is to show of it."""
        if self._beginning is not None:
            piece = self._beginning + piece
            is_whole = piece.endswith(b"\n") or b" " in piece or len(piece) >= LONGEST_BYTES
            self._beginning = None if is_whole else piece
            if not is_whole:
                return b""
            piece = self._without_timestamp(piece)
        if piece.endswith(b"\n"):
            self._beginning = b""
        return piece

    def _without_timestamp(self, piece: bytes) -> bytes:
        matched = _TIMESTAMP.match(piece)
        moment = _moment(matched) if matched else None
        if not matched or moment is None:
            return piece
        seconds, nanoseconds = moment
        at = seconds * NANOSECONDS + nanoseconds
        self._is_asked = at >= self._since and (not self._until or at <= self._until)
        rest = piece[matched.end() :]
        return _shown(seconds, nanoseconds) + rest if self._timestamps else rest


def moment_of(line: bytes) -> int | None:
    """Return when a line was written, in nanoseconds of Unix time; None if it does not say."""
    matched = _TIMESTAMP.match(line)
    moment = _moment(matched) if matched else None
    return moment[0] * NANOSECONDS + moment[1] if moment else None


def _moment(matched: re.Match[bytes]) -> tuple[int, int] | None:
    """Seconds and nanoseconds of a timestamp; None for a day that is not in the calendar."""
    try:
        second = datetime.fromisoformat((matched[1] + matched[3]).decode())
        return int(second.timestamp()), int((matched[2] or b"0").ljust(9, b"0"))
    except (ValueError, OverflowError):
        return None


def _shown(seconds: int, nanoseconds: int) -> bytes:
    second = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{second}.{nanoseconds:09}Z ".encode()


def cut_lines(data: bytes) -> list[bytes]:
    r"""Cut at `\n` alone: a carriage return is a part of a line."""
    *lines, rest = data.split(b"\n")
    return [line + b"\n" for line in lines] + ([rest] if rest else [])
