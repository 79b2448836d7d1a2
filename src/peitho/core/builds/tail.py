"""The last bytes of an output, in memory, for those who look in now and then."""


class Tail:
    """Keeps the last `most_bytes` of what is added, or a little more."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._kept = bytearray()
        self._dropped = 0

    @property
    def added_bytes(self) -> int:
        """How many bytes were added in all."""
        return self._dropped + len(self._kept)

    def add(self, data: bytes) -> None:
        """Add bytes; the first go once there are twice as many as are kept."""
        self._kept += data
        if len(self._kept) >= 2 * self._most_bytes:
            self._drop(self._most_bytes)

    def cut(self, most_bytes: int) -> None:
        """Keep fewer from now on."""
        self._most_bytes = most_bytes
        self._drop(most_bytes)

    def last(self, most_bytes: int) -> bytes:
        """Return the last bytes."""
        return bytes(self._kept[-most_bytes:])

    def since(self, position: int) -> bytes:
        """
        Return what was added after the first `position` bytes, as far as it is kept.

        It begins later where that was dropped, and is empty for a position that is yet to come.
        """
        return bytes(self._kept[max(0, position - self._dropped) :][-self._most_bytes :])

    def _drop(self, most_bytes: int) -> None:
        drop = max(0, len(self._kept) - most_bytes)
        del self._kept[:drop]
        self._dropped += drop
