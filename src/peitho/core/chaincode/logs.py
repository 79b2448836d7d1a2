"""The log of one container of a Pod, from its first byte to its last."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass

from peitho.clients.kubernetes.api import Kubernetes, KubernetesError
from peitho.clients.kubernetes.pod_watch import PodWatch, Sighting
from peitho.core.container import OutputOptions
from peitho.core.pods import waiting
from peitho.formats.kubernetes.timed_lines import NANOSECONDS, TimedLines

Chunks = AsyncGenerator[bytes, None]

# The Pod was deleted meanwhile, and its log with it.
_GONE = 404
# The node has begun the process, and has not written it into the Pod's status yet.
_NOT_YET = 400
# Right after a container has started, its node may have no log to open yet.
_TRIES = 10
_PAUSE_SECONDS = 0.3
# The last lines of a log come within a second or two after the end, as the kubelet looks once
# a second.  A connection that is silent for longer is dead.
_SILENCE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class PodLog:
    """The log of one container; `key` is the label by which its Pod is known."""

    kubernetes: Kubernetes
    watch: PodWatch
    key: str
    container: str

    async def until_there(self, *, within_seconds: float) -> None:
        """Wait until it is known whether there is a log, but no longer than `within_seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_seconds):
                async for sighting in self.watch.sightings(self.key):
                    if sighting.gone or _is_there(sighting, self.container):
                        return
                    if sighting.pod and sighting.pod.exit_of(self.container):
                        return

    async def read(self, options: OutputOptions) -> Chunks:
        """
        Yield what is there now, or if followed all that comes until the container has ended.

        Raises KubernetesError, Unavailable.
        """
        sighting = self.watch.see(self.key)
        if sighting.pod is None or not _is_there(sighting, self.container):
            return
        name = sighting.pod.name
        for left in reversed(range(_TRIES)):
            said = False
            try:
                async with aclosing(self._once(name, options)) as log:
                    async for chunk in log:
                        said = True
                        yield chunk
            except KubernetesError as error:
                if error.code == _GONE:
                    return
                is_early = options.follow or error.code == _NOT_YET
                if said or not left or not is_early or self._has_ended():
                    raise
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            if said or not options.follow or self._has_ended():
                return
            await asyncio.sleep(_PAUSE_SECONDS)

    def _has_ended(self) -> bool:
        return waiting.exit_of(self.watch.see(self.key), self.container) is not None

    async def _once(self, pod: str, options: OutputOptions) -> Chunks:
        lines = TimedLines(
            since_nanoseconds=options.since_nanoseconds,
            until_nanoseconds=options.until_nanoseconds,
            timestamps=options.timestamps,
        )
        log = self.kubernetes.log(
            pod,
            self.container,
            follow=options.follow,
            tail_lines=options.tail_lines,
            since_seconds=options.since_nanoseconds // NANOSECONDS,
            timestamps=options.are_timed,
        )
        async with aclosing(log):
            while chunk := await waiting.first(anext(log, b""), self._over()):
                if not options.are_timed:
                    yield chunk
                elif asked := lines.feed(chunk):
                    yield asked

    async def _over(self) -> bytes:
        """Return nothing, once the container has ended and its log has been silent for a while."""
        await waiting.until_ended(self.watch, self.key, self.container)
        await asyncio.sleep(_SILENCE_SECONDS)
        return b""


def _is_there(sighting: Sighting, container: str) -> bool:
    """Whether there is a log to read: the Pod is there, and its container has run."""
    return bool(sighting.pod and not sighting.gone and sighting.pod.started_at(container))
