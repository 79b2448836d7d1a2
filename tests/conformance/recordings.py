"""
What dockerd answered to real peers, and what Peitho answers, in one form.

`recordings.json` was reduced from conversations of peers 1.4.12 and 2.5.16 with dockerd 28.5.2, and
of 2.2.15 with 20.10.24: request without names, status, headers that a client may look at, and of a
body Docker's message, or the types of its keys.  A status of null is a call that was still open.
Where the two dockerds differ in capitals, the newer one's are here.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lab.recorder import Exchange

_RECORDINGS = Path(__file__).parent / "recordings.json"
_HEADERS = ("content-type", "docker-experimental", "ostype", "upgrade")
_STAT = "x-docker-container-path-stat"
_OPEN = ("POST /containers/ID/wait", "POST /build")


@dataclass(frozen=True, slots=True)
class Call:
    """A request of a peer and its answer; `body` is a message, the types of keys, or a format."""

    request: str
    status: int | None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None

    @property
    def told(self) -> tuple[str, int | None, str]:
        """What of it must be the same: request, status and message."""
        message = self.body.get("message", "") if isinstance(self.body, dict) else ""
        return self.request, self.status, str(message)


def recorded(version: str, scenario: str) -> list[Call]:
    """What dockerd answered to a peer of a version in a scenario."""
    return [Call(**each) for each in json.loads(_RECORDINGS.read_text())[version][scenario]]


def observed(exchanges: Iterable[Exchange]) -> list[Call]:
    """What Peitho answered, in the form of the recordings."""
    return [_call(each) for each in exchanges]


def _call(exchange: Exchange) -> Call:
    request = f"{exchange.method} {_unnamed(exchange.path)}"
    if request in _OPEN and not exchange.complete:
        return Call(request, None)
    headers = {name: exchange.headers[name] for name in _HEADERS if name in exchange.headers}
    if _STAT in exchange.headers:
        headers[_STAT] = "*"
    if exchange.headers.get("connection") == "Upgrade":
        headers["connection"] = "Upgrade"
    return Call(request, exchange.status, headers, _body(exchange))


def _unnamed(path: str) -> str:
    path = re.sub(r"^/containers/(?!create|json)[^/]+", "/containers/ID", path)
    return re.sub(r"^/images/(?!create|json).+/json", "/images/NAME/json", path)


def _body(exchange: Exchange) -> Any:
    kind = exchange.headers.get("content-type")
    if not exchange.body or exchange.status == 101:
        return None
    if kind == "application/x-tar":
        return "tar"
    if kind != "application/json":
        return "text"
    if exchange.body.count(b"\n") > 1:
        return "json-stream"
    value = json.loads(exchange.body)
    if "message" in value:
        return {"message": _without_names(value["message"])}
    return {key: type(each).__name__ for key, each in sorted(value.items()) if each is not None}


def _without_names(message: str) -> str:
    message = re.sub(r"[\w.-]*peer0[\w.-]*", "NAME", message)
    return re.sub(r"\b[0-9a-f]{64}\b", "ID", message)
