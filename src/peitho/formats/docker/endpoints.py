"""The address of a Docker daemon: `unix:///PATH` or `tcp://HOST:PORT`."""

import re
from dataclasses import dataclass

from peitho.errors import InvalidArgument

_TCP = re.compile(r"tcp://(\[[0-9a-fA-F:]+\]|[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?):(\d{1,5})/?")
_UNIX = "unix://"
_LAST_PORT = 65535


@dataclass(frozen=True, slots=True)
class DaemonEndpoint:
    """The path of a socket, or a `HOST:PORT`; the other one is empty."""

    path: str = ""
    address: str = ""

    def __str__(self) -> str:
        return f"{_UNIX}{self.path}" if self.path else f"tcp://{self.address}"


def parse(text: str) -> DaemonEndpoint:
    """
    Read an endpoint.

    Raises InvalidArgument that says what is allowed.
    """
    path = text.removeprefix(_UNIX)
    if path != text and path.startswith("/"):
        return DaemonEndpoint(path=path)
    tcp = _TCP.fullmatch(text)
    if tcp and 0 < int(tcp[3]) <= _LAST_PORT:
        return DaemonEndpoint(address=f"{tcp[1]}:{int(tcp[3])}")
    raise InvalidArgument("must be unix:///PATH or tcp://HOST:PORT")
