"""
Containers as peers see them: one with a name is chaincode, one without is a build.

This is the only place that knows the difference; whoever holds a `Container` need not.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from peitho.errors import NotFound
from peitho.formats import names
from peitho.formats.manifests import ContainerSpec

if TYPE_CHECKING:
    from peitho.core.builds import Builds
    from peitho.core.chaincode import Chaincodes


@dataclass(frozen=True, slots=True)
class State:
    """Docker's state of a container: `created`, `running` or `exited`; times are RFC 3339."""

    status: str
    exit_code: int = 0
    reason: str = ""
    started_at: str = ""
    finished_at: str = ""


@dataclass(frozen=True, slots=True)
class Summary:
    """A container in a list; `kubernetes_name` is where to look for it in the cluster."""

    id: str
    name: str
    image: str
    command: str
    created: str
    state: State
    kubernetes_name: str


@dataclass(frozen=True, slots=True)
class Details:
    """All that is told of one container."""

    summary: Summary
    spec: ContainerSpec
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PathStat:
    """A path in a container, as `X-Docker-Container-Path-Stat` tells it; mode is Go's FileMode."""

    name: str
    size_bytes: int
    mode: int
    modified_at: str


@dataclass(frozen=True, slots=True)
class Archive:
    """A tar of a path in a container, in a file that lives as long as the container."""

    stat: PathStat
    file: Path


class Container(Protocol):
    """What a peer can do with a container, whichever kind it is."""

    @property
    def id(self) -> str:
        """64 hexadecimal digits."""
        ...

    async def put_archive(self, path: str, chunks: AsyncIterator[bytes]) -> None:
        """Unpack an archive at a path, before start."""
        ...

    async def get_archive(self, path: str) -> Archive:
        """The content of a path, after the end."""
        ...

    async def start(self) -> bool:
        """Return once the process runs; False if it had been started before."""
        ...

    async def stop(self) -> bool:
        """Return once the process is gone; False if it was not running."""
        ...

    async def wait(self) -> State:
        """Return once the process has ended, and all who are attached have been told all."""
        ...

    def output(self, *, logs: bool, follow: bool) -> AsyncIterator[tuple[int, bytes]]:
        """Stdout (1) and stderr (2); `logs` replays what was said, `follow` goes on to the end."""
        ...

    async def remove(self) -> None:
        """Drop the container and all it owns; what it runs is ended."""
        ...

    async def inspect(self) -> Details:
        """All that is told of it."""
        ...


class Containers:
    """All containers, by name or ID."""

    def __init__(self, chaincodes: "Chaincodes", builds: "Builds") -> None:
        self._chaincodes = chaincodes
        self._builds = builds

    async def create(self, name: str, spec: ContainerSpec) -> Container:
        """
        Create a chaincode container, or a build container if there is no name.

        Raises InvalidArgument, NotFound for the image, Conflict for the name, Unavailable.
        """
        if not name:
            return self._builds.create(spec)
        return await self._chaincodes.create(names.valid_container_name(name), spec)

    async def get(self, reference: str) -> Container:
        """
        The container of that name, ID, or unique beginning of an ID.

        Raises NotFound with the text that peers match by case, Unavailable.
        """
        reference = reference.removeprefix("/")
        container = self._builds.find(reference) or await self._chaincodes.find(reference)
        if container is None:
            raise NotFound(f"No such container: {reference}")
        return container

    async def list(self, *, all_states: bool) -> list[Summary]:
        """Running containers, or all; the newest first, as Docker does."""
        found = [*await self._chaincodes.list(), *self._builds.list()]
        shown = [each for each in found if all_states or each.state.status == "running"]
        return sorted(shown, key=lambda each: each.created, reverse=True)
