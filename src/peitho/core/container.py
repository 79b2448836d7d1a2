"""What a container is to a peer, of either kind."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from peitho.formats.records import ContainerSpec


@dataclass(frozen=True, slots=True)
class State:
    """
    Docker's state of a container: `created`, `running` or `exited`; times are RFC 3339.

    `log` holds the last lines of a container that failed.
    """

    status: str
    exit_code: int = 0
    reason: str = ""
    started_at: str = ""
    finished_at: str = ""
    log: str = ""


@dataclass(frozen=True, slots=True)
class Summary:
    """A container's entry in a list; `kubernetes_name` is the name of its object in the cluster."""

    id: str
    name: str
    image: str
    command: str
    created: str
    state: State
    kubernetes_name: str
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def shown_labels(self) -> dict[str, str]:
        """The labels as Docker's clients see them, by which they may filter."""
        return dict(self.labels) | {"peitho/kubernetes-name": self.kubernetes_name}


@dataclass(frozen=True, slots=True)
class Details:
    """All that `docker inspect` shows of a container."""

    summary: Summary
    spec: ContainerSpec


@dataclass(frozen=True, slots=True)
class PathStat:
    """A path in a container, for `X-Docker-Container-Path-Stat`; `mode` is Go's FileMode."""

    name: str
    size_bytes: int
    mode: int
    modified_at: str


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """
    Which output of a container is asked for.

    `tail_lines` are the lines before now, all if it is None. Times are Unix time; 0 is none.
    """

    follow: bool = False
    tail_lines: int | None = None
    stdout: bool = True
    stderr: bool = True
    since_nanoseconds: int = 0
    until_nanoseconds: int = 0
    timestamps: bool = False

    @property
    def are_timed(self) -> bool:
        """Whether it matters when a line was written."""
        return bool(self.timestamps or self.since_nanoseconds or self.until_nanoseconds)


# Output of a container: stream number and bytes.  Whoever reads it must close it.
Said = AsyncGenerator[tuple[int, bytes], None]


@dataclass(frozen=True, slots=True)
class Archive:
    """A tar of a path in a container; the file lives as long as the container."""

    stat: PathStat
    file: Path


class Container(Protocol):
    """What a peer can do with a container, of either kind."""

    @property
    def id(self) -> str:
        """64 hexadecimal digits."""
        ...

    async def put_archive(self, path: str, chunks: AsyncIterator[bytes]) -> None:
        """Unpack an archive at a path, before start."""
        ...

    async def get_archive(self, path: str) -> Archive:
        """Return a tar of a path, after the end."""
        ...

    async def start(self) -> bool:
        """Return once the process runs; False if it had been started before."""
        ...

    async def stop(self) -> bool:
        """Return once the process is gone; False if it was not running."""
        ...

    async def wait(self, condition: str = "") -> State:
        """Return once Docker's condition holds: by default, once the process does not run."""
        ...

    def output(self, options: OutputOptions) -> Said:
        """Return stdout (1) and stderr (2) as they come. Raises Unsupported at once."""
        ...

    async def remove(self) -> None:
        """End the process, and remove the container and all that it owns."""
        ...

    async def inspect(self) -> Details:
        """Return all that `docker inspect` shows."""
        ...
