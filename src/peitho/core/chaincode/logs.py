"""The log of one container of a Pod, from its first byte to its last."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Self

from peitho.clients.kubernetes.api import Kubernetes, KubernetesError
from peitho.clients.kubernetes.pod_watch import PodWatch, Sighting
from peitho.core.clock import growing_pauses
from peitho.core.container import OutputOptions
from peitho.core.pods import waiting
from peitho.errors import Unavailable
from peitho.formats.kubernetes.resumed_lines import ResumedLines
from peitho.formats.kubernetes.timed_lines import NANOSECONDS, TimedLines

Chunks = AsyncGenerator[bytes, None]

# The Pod was deleted meanwhile, and its log with it.
_GONE = 404
# The node has begun the process, and has not written it into the Pod's status yet.
_NOT_YET = 400
# Right after a container has started, its node may have no log to open yet.
_TRIES = 10
_PAUSE_SECONDS = 0.3
_LONGEST_PAUSE_SECONDS = 5.0
# The last lines of a log come within a second or two after the end, as the kubelet looks once
# a second.  A connection that is silent for longer is dead.
_SILENCE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class _Progress:
    """What was read of a log so far, and what of it is asked for."""

    lines: ResumedLines
    asked: TimedLines

    @classmethod
    def of(cls, options: OutputOptions) -> Self:
        """Return the beginning."""
        asked = TimedLines(
            since_nanoseconds=options.since_nanoseconds,
            until_nanoseconds=options.until_nanoseconds,
            timestamps=options.timestamps,
        )
        return cls(ResumedLines(), asked)

    def take(self, chunk: bytes) -> bytes:
        """Return what is asked for of these bytes, and new."""
        return self.asked.feed(self.lines.feed(chunk))


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
        if options.follow:
            followed = self._followed(sighting.pod.name, options)
        else:
            followed = self._at_once(sighting.pod.name, options)
        async with aclosing(followed) as log:
            async for chunk in log:
                yield chunk

    async def _at_once(self, pod: str, options: OutputOptions) -> Chunks:
        """Yield what is there now."""
        for left in reversed(range(_TRIES)):
            try:
                async with aclosing(self._once(pod, options, _Progress.of(options))) as log:
                    async for chunk in log:
                        yield chunk
            except KubernetesError as error:
                if error.code == _GONE:
                    return
                if error.code != _NOT_YET or not left or self._has_ended():
                    raise
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                return

    async def _followed(self, pod: str, options: OutputOptions) -> Chunks:
        """
        Yield a log until its container has ended, stream after stream.

        A stream may be cut at any time, and then looks as if it had ended: only one that was opened
        after the end has all of it.
        """
        progress, failures = _Progress.of(options), 0
        for pause_seconds in growing_pauses(_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS):
            had_ended = self._has_ended()
            try:
                async with aclosing(self._once(pod, options, progress)) as log:
                    async for chunk in log:
                        failures = 0
                        yield chunk
                if had_ended:
                    if rest := progress.asked.feed(progress.lines.rest()):
                        yield rest
                    return
            except (KubernetesError, Unavailable) as error:
                failures += 1
                if isinstance(error, KubernetesError) and error.code == _GONE:
                    return
                tries = 1 if had_ended and not progress.lines.are_begun else _TRIES
                if failures >= tries and (had_ended or not progress.lines.are_begun):
                    raise
            if self.watch.see(self.key).gone:
                return
            progress.lines.resume()
            await waiting.first(self._until_ended(had_ended=had_ended), _after(pause_seconds))

    def _has_ended(self) -> bool:
        return waiting.exit_of(self.watch.see(self.key), self.container) is not None

    async def _until_ended(self, *, had_ended: bool) -> None:
        if had_ended:
            await asyncio.Event().wait()
        await waiting.until_ended(self.watch, self.key, self.container)

    async def _once(self, pod: str, options: OutputOptions, progress: "_Progress") -> Chunks:
        """Yield what one stream of the log brings that is new."""
        is_first = not progress.lines.are_begun
        first_seconds = options.since_nanoseconds // NANOSECONDS
        log = self.kubernetes.log(
            pod,
            self.container,
            follow=options.follow,
            tail_lines=options.tail_lines if is_first else None,
            since_seconds=max(first_seconds, progress.lines.since_seconds),
            timestamps=options.follow or options.are_timed,
        )
        async with aclosing(log):
            while chunk := await waiting.first(anext(log, b""), self._over()):
                if not (options.follow or options.are_timed):
                    yield chunk
                elif asked := progress.take(chunk):
                    yield asked

    async def _over(self) -> bytes:
        """Return nothing, once the container has ended and its log has been silent for a while."""
        await waiting.until_ended(self.watch, self.key, self.container)
        await asyncio.sleep(_SILENCE_SECONDS)
        return b""


def _is_there(sighting: Sighting, container: str) -> bool:
    """Whether there is a log to read: the Pod is there, and its container has run."""
    return bool(sighting.pod and not sighting.gone and sighting.pod.started_at(container))


async def _after(seconds: float) -> None:
    await asyncio.sleep(seconds)
