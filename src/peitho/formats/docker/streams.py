"""
Docker's two streams: framed output of a container, and JSON messages of a build or a pull.

A frame is one byte of stream number, three zero bytes, four bytes of length (big endian), and the
output (Docker Engine API, "Stream format").
"""

import json
import struct

from peitho.errors import InvalidArgument

STDOUT = 1
STDERR = 2

RAW_TYPE = "application/vnd.docker.raw-stream"
FRAMED_TYPE = "application/vnd.docker.multiplexed-stream"

_HEADER = struct.Struct(">BxxxL")
# The peers' newer client does not take frames apart; a length byte of 0x80 or more then makes the
# whole error text invalid UTF-8, and it is lost (Fabric 2.5.16, 3.1.5, main).
LONGEST_BYTES = 127


def frame(stream: int, data: bytes) -> bytes:
    """Return output as one frame."""
    return _HEADER.pack(stream, len(data)) + data


def frames(stream: int, data: bytes, *, limit_bytes: int = LONGEST_BYTES) -> bytes:
    """Return output in frames of at most `limit_bytes`."""
    cuts = range(0, len(data), limit_bytes)
    return b"".join(frame(stream, data[cut : cut + limit_bytes]) for cut in cuts)


class FrameReader:
    """Takes frames apart, however the network cut them; a long one comes in parts."""

    def __init__(self) -> None:
        self._header = b""
        self._stream = STDOUT
        self._missing = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """
        Return the output in these bytes: stream numbers and data.

        Raises InvalidArgument for what is no frame.
        """
        messages = []
        view = memoryview(data)
        while view:
            if self._missing:
                part, view = view[: self._missing], view[self._missing :]
                self._missing -= len(part)
                messages.append((self._stream, bytes(part)))
            else:
                view = self._feed_header(view)
        return messages

    def _feed_header(self, view: memoryview) -> memoryview:
        wanted = _HEADER.size - len(self._header)
        self._header += bytes(view[:wanted])
        if len(self._header) == _HEADER.size:
            self._stream, self._missing = _HEADER.unpack(self._header)
            if self._stream not in (STDOUT, STDERR):
                raise InvalidArgument(f"not a frame of output: {self._header!r}")
            self._header = b""
        return view[wanted:]


def stream_message(text: str) -> bytes:
    """Return a line of progress."""
    return json.dumps({"stream": text}).encode() + b"\r\n"
