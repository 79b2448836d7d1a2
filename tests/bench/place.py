"""Where a part of the benchmark happens: a Peitho in a namespace of its own, gone at the end."""

import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.cluster import Cluster
from tests.lab.machine import CACHE
from tests.lab.peitho import Peitho, namespace

_GONE_SECONDS = 300


class BenchError(Exception):
    """Something could not be measured; the message says why."""


@dataclass(frozen=True, slots=True)
class Place:
    """What all parts are given."""

    cluster: Cluster
    runs: int


@asynccontextmanager
async def running(cluster: Cluster, **settings: Any) -> AsyncIterator[Peitho]:
    """A new Peitho; at return its namespace is gone, so that no part is slowed by another's end."""
    name = ""
    with folder() as path:
        try:
            async with (
                namespace(cluster) as name,
                Peitho.start(cluster, name, path, **settings) as peitho,
            ):
                yield peitho
        finally:
            if name:
                wait = ["wait", "--for=delete", f"--timeout={_GONE_SECONDS}s"]
                cluster.run_kubectl(*wait, f"namespace/{name}")


@contextmanager
def folder() -> Iterator[Path]:
    """A folder on disk, where /tmp may be memory; gone at the end."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=CACHE) as name:
        yield Path(name)


def say(text: str) -> None:
    """Show what goes on."""
    print(f"bench: {text}", flush=True)


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return time.monotonic() - self._began
