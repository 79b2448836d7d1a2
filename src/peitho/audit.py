"""
The audit trail: who did what, and what came of it; one line for each, for whoever asks later.

Beside the log, which is for whoever looks now: the trail has no level, and each line is chained to
the one before.  File contents, values of environment variables and tokens are never in it.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from peitho.errors import PeithoError

Sink = Callable[[Mapping[str, object]], None]


@dataclass(frozen=True, slots=True)
class Caller:
    """
    Who asked: address, subject of the certificate, and the ID of the request.

    All are empty for what Peitho does by itself, such as noting an end.
    """

    address: str = ""
    certificate: str = ""
    request: str = ""
    tenant: str = "default"


# An error may have the words of a cluster, a registry or a daemon, and a name those of a body.
_LONGEST_CHARACTERS = 1000
_PEITHO = Caller()
_caller: ContextVar[Caller] = ContextVar("caller", default=_PEITHO)
_sinks: list[Sink] = []


def caller() -> Caller:
    """Return who asked for what is being done here; a task has the caller of who started it."""
    return _caller.get()


def set_caller(asking: Caller) -> None:
    """Note who asks for all that is done from here on."""
    _caller.set(asking)


def record(event: str, *, outcome: str = "done", by: Caller | None = None, **what: object) -> None:
    """
    Add an event: what was done (names, digests), by whom if not the caller, and the outcome.

    The outcome is `done`, or in the words of whoever knows.
    """
    _tell(event, outcome, what, by or caller())


@contextmanager
def recording(event: str, **what: object) -> Iterator[dict[str, object]]:
    """Record what is done inside, with its outcome, an error's too; fields may be added."""
    fields = dict(what)
    try:
        yield fields
    except PeithoError as error:
        _tell(event, str(error), fields, caller())
        raise
    except asyncio.CancelledError:
        _tell(event, "the caller hung up, or Peitho stops", fields, caller())
        raise
    _tell(event, "done", fields, caller())


def is_kept() -> bool:
    """Whether anybody keeps events; what they say need not be looked up otherwise."""
    return bool(_sinks)


@contextmanager
def kept_by(sink: Sink) -> Iterator[None]:
    """Have events kept, for as long as this lasts."""
    _sinks.append(sink)
    try:
        yield
    finally:
        _sinks.remove(sink)


def _tell(event: str, outcome: str, what: Mapping[str, object], by: Caller) -> None:
    time = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    line = {"time": time, "event": event, "outcome": outcome, **what, **asdict(by)}
    short = {key: _short(value) for key, value in line.items()}
    for sink in _sinks:
        sink(short)


def _short(value: object) -> object:
    """Cut a text: a file's chain goes on from a last line that is found near its end."""
    return value[:_LONGEST_CHARACTERS] if isinstance(value, str) else value
