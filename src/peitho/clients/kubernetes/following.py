"""
Following the objects of a kind: list them once, then watch them, for ever.

A watch that ends, or is cut, goes on at its version. A list comes again only where the API server
has forgotten that version, and shows what vanished meanwhile.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import structlog

from peitho.clients import retries
from peitho.clients.kubernetes.api import Kubernetes, KubernetesError, Listing
from peitho.errors import PeithoError
from peitho.formats.kubernetes.objects import Manifest

log = structlog.get_logger()

T = TypeVar("T")

_GONE = 410
# A right that is missing may be given, and then what is known is still true.
_DENIED = frozenset({401, 403, 405})
# What reading raises where the answer is none of an API server's.
DAMAGE = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 8.0
# An API server that was set back knows no such version, and says something else than "gone".
_TRIES = 10


class Follower(Protocol[T]):
    """Who is told what is there."""

    async def replace(self, listing: Listing[T]) -> None:
        """Take a list: what is not in it is gone."""
        ...

    def take(self, kind: str, item: T) -> None:
        """Take one event; `kind` is `ADDED`, `MODIFIED` or `DELETED`."""
        ...

    def heard(self, version: str) -> None:
        """The API server has told all up to a version."""
        ...

    def interrupted(self) -> None:
        """From now on something may be missed, until the API server is heard again."""
        ...


@dataclass(frozen=True, slots=True)
class Following(Generic[T]):
    """Which objects are followed, and how each is reduced as it is read."""

    kubernetes: Kubernetes
    kind: str
    labels: Mapping[str, str]
    read: Callable[[Manifest], T]
    metadata_only: bool = False

    async def run(self, follower: Follower[T]) -> None:
        """List and watch for ever; after an error, log it and go on a little later."""
        version, tries, told = "", 0, ""
        while True:
            try:
                if not version:
                    version = await self._list(follower)
                async for heard in self._watched(version, follower):
                    version, tries, told = heard, 0, ""
            except (PeithoError, *DAMAGE) as error:
                tries += 1
                if not _may_go_on(error) or tries == _TRIES:
                    version, tries = "", 0
                told = self._tell(error, told)
                follower.interrupted()
                pause = _PAUSE_SECONDS * 2.0 ** max(tries - 1, 0)
                await asyncio.sleep(min(pause, _LONGEST_PAUSE_SECONDS))

    async def _list(self, follower: Follower[T]) -> str:
        listing = await self.kubernetes.listed(
            self.kind, self.read, labels=self.labels, metadata_only=self.metadata_only
        )
        await follower.replace(listing)
        follower.heard(listing.version)
        return listing.version

    async def _watched(self, version: str, follower: Follower[T]) -> AsyncIterator[str]:
        """Watch until the API server ends it; yield the version of each event."""
        began = time.monotonic()
        events = self.kubernetes.watch(
            self.kind, labels=self.labels, version=version, metadata_only=self.metadata_only
        )
        async for event in events:
            version = event["object"]["metadata"]["resourceVersion"]
            if event["type"] != "BOOKMARK":
                follower.take(event["type"], self.read(event["object"]))
            follower.heard(version)
            yield version
        follower.heard(version)
        if time.monotonic() - began < _PAUSE_SECONDS:  # it ended at once
            await asyncio.sleep(_PAUSE_SECONDS)

    def _tell(self, error: Exception, told: str) -> str:
        """Log an error, unless it is the same as before; return it in words."""
        cause = str(error) or type(error).__name__
        if isinstance(error, KubernetesError) and error.code == _GONE:
            log.info("watch too old, listing again", kind=self.kind)
        elif cause != told:
            log.warning("watch interrupted", kind=self.kind, cause=cause)
        return cause


def _may_go_on(error: Exception) -> bool:
    """Whether a watch can be taken up where it was: not after an answer that nobody can read."""
    if isinstance(error, KubernetesError) and error.code in _DENIED:
        return True
    return isinstance(error, PeithoError) and retries.is_passing(error)
