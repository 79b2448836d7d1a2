"""
A log with timestamps that is read again after each cut: each byte of it is given once.

The API server gives lines since a second. Those that were given already are known by their
timestamp, and by their number among the lines that have the same. Among lines that have one, a line
without is no word of the container's: a node writes into the stream why it reads no further, such
as `failed to get container status: ... not found` when the Pod is deleted.
"""

from peitho.formats.kubernetes.timed_lines import LONGEST_BYTES, NANOSECONDS, cut_lines, moment_of


class ResumedLines:
    """What is new of a log, stream after stream; lines without timestamps are counted alone."""

    def __init__(self) -> None:
        # The last line that was begun: its moment, its number among those of the moment, and how
        # many bytes of it were given.
        self._last = (0, 0)
        self._given_bytes = 0
        self._is_known = False
        # Of the stream that is read: a line whose timestamp is not whole, and the present line.
        self._beginning = b""
        self._in_line = False
        self._line = (0, 0)
        self._read_bytes = 0
        self._is_foreign = False

    @property
    def since_seconds(self) -> int:
        """From when on the log is asked for again, in Unix time; 0 for all of it."""
        return self._last[0] // NANOSECONDS

    @property
    def are_begun(self) -> bool:
        """Whether anything was given yet."""
        return self._last != (0, 0)

    def resume(self) -> None:
        """Begin another stream, which repeats what was given."""
        self._is_known = self.are_begun
        self._begin()

    def feed(self, data: bytes) -> bytes:
        """Return what is new in these bytes; they may be cut anywhere."""
        return b"".join(self._new(piece) for piece in cut_lines(data))

    def rest(self) -> bytes:
        """Return the beginning of a line that never had a timestamp, once the log has ended."""
        rest, self._beginning = self._beginning, b""
        return b"" if self._is_known or self._line[0] else rest

    def _begin(self) -> None:
        self._beginning = b""
        self._in_line = False
        self._line = (0, 0)
        self._read_bytes = 0
        self._is_foreign = False

    def _new(self, piece: bytes) -> bytes:
        if not self._in_line:
            piece = self._beginning + piece
            is_whole = piece.endswith(b"\n") or b" " in piece or len(piece) >= LONGEST_BYTES
            self._beginning = b"" if is_whole else piece
            if not is_whole:
                return b""
            self._begin_line(piece)
        self._in_line = not piece.endswith(b"\n")
        return b"" if self._is_foreign else self._unknown(piece)

    def _begin_line(self, piece: bytes) -> None:
        moment, number = self._line
        own = moment_of(piece)
        self._is_foreign = own is None and moment > 0
        if self._is_foreign:
            return
        at = own or 0
        self._line = (at, number + 1 if at == moment else 1)
        self._read_bytes = 0
        if self._line > self._last:
            self._is_known = False
        if not self._is_known:
            self._last, self._given_bytes = self._line, 0

    def _unknown(self, piece: bytes) -> bytes:
        """Return the part of a line that was not given yet."""
        before, self._read_bytes = self._read_bytes, self._read_bytes + len(piece)
        if self._is_known and self._line < self._last:
            return b""
        new = piece[max(0, self._given_bytes - before) :]
        self._given_bytes = max(self._given_bytes, self._read_bytes)
        if self._is_known and not self._in_line:
            self._is_known = False  # this was the last of those that were given
        return new
