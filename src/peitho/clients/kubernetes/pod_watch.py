"""
A cache of the Pods of this Peitho, kept up to date by one list and watch.

A Pod that the watch has not told of yet is never taken for gone.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from peitho import metrics
from peitho.clients.kubernetes.api import Kubernetes, Listing
from peitho.clients.kubernetes.following import Following
from peitho.clients.turns import in_turns
from peitho.formats.bounded_dict import BoundedDict
from peitho.formats.kubernetes import pod_status
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.kubernetes.pod_status import DamagedPod, PodStatus

log = structlog.get_logger()

_REMEMBERED_GONE = 10_000
# A kubelet tells of an end within a second or two; one that has not by then, past the Pod's own
# grace, is taken for lost, and its node with it.
_LATE_SECONDS = 10.0
# Nothing is concluded from what was not heard: the API server ends a watch every 20 s.
_UNHEARD_SECONDS = 25.0
_LATER_SECONDS = 1.0

_running: "set[PodWatch]" = set()


class PodWatch:
    """
    The Pods of this Peitho as last seen; each is known by its container label, its key.

    They are followed: a list shows also the Pods that vanished meanwhile.
    """

    def __init__(self, kubernetes: Kubernetes, *, labels: Mapping[str, str]) -> None:
        self._kubernetes = kubernetes
        self._labels = dict(labels)
        self._pods: dict[str, PodStatus] = {}
        self._gone: BoundedDict[str, PodStatus] = BoundedDict(_REMEMBERED_GONE)
        self._lost: BoundedDict[str, None] = BoundedDict(_REMEMBERED_GONE)
        self._disowned: BoundedDict[str, None] = BoundedDict(_REMEMBERED_GONE)
        self._awaited: set[str] = set()
        self._losing: dict[str, asyncio.TimerHandle] = {}
        self._began: BoundedDict[tuple[str, str], str] = BoundedDict(_REMEMBERED_GONE)
        self._waiters: dict[str, set[asyncio.Future[None]]] = {}
        self._listeners: list[Callable[[str], None]] = []
        self._list_listeners: list[Callable[[], None]] = []
        self._heard_at = 0.0
        self.synced = asyncio.Event()

    @property
    def age_seconds(self) -> float:
        """Seconds since the API server last told anything; infinite before the first list."""
        return time.monotonic() - self._heard_at if self._heard_at else float("inf")

    def see(self, key: str) -> "Sighting":
        """Return the Pod of a container as last seen."""
        if pod := self._pods.get(key):
            return Sighting(pod=pod, gone=False, lost=key in self._lost)
        return Sighting(self._gone.get(key), gone=key in self._gone, lost=key in self._lost)

    def sightings(self, key: str) -> "Sightings":
        """Iterate over sightings of a container's Pod: the present one, then each change."""
        return Sightings(self, key)

    async def changed(self, key: str) -> None:
        """Return at the next change of a container's Pod."""
        future = asyncio.get_running_loop().create_future()
        waiters = self._waiters.setdefault(key, set())
        waiters.add(future)
        try:
            await future
        finally:
            waiters.discard(future)
            if not waiters and self._waiters.get(key) is waiters:
                del self._waiters[key]

    def listen(self, listener: Callable[[str], None]) -> None:
        """Call a function with the key of each Pod that changes."""
        self._listeners.append(listener)

    def after_list(self, listener: Callable[[], None]) -> None:
        """Call a function after each list; Pods that vanished before it are not told of."""
        self._list_listeners.append(listener)

    @contextmanager
    def awaiting_another(self, key: str) -> Iterator[None]:
        """Take a container's Pod for one that never was, while the container is given another."""
        self._awaited.add(key)
        if pod := self._pods.pop(key, None):
            self._disowned[pod.uid] = None
            self._stop_timing(key)
            self._wake(key)
        try:
            yield
        finally:
            self._awaited.discard(key)

    def awaits_another(self, key: str) -> bool:
        """Whether a container has no Pod just because it is given another."""
        return key in self._awaited

    def begin(self, pod_name: str, container: str, *, at: str) -> None:
        """Take it from its node that a container's process began; its Pod's status tells later."""
        if (pod_name, container) in self._began:
            return
        known = [(key, pod) for key, pod in self._pods.items() if pod.name == pod_name]
        for key, pod in known:
            self._began[pod_name, container] = at
            self._know(key, pod)

    async def run(self) -> None:
        """List and watch for ever; after an error, log it and go on, with pauses that grow."""
        _running.add(self)
        try:
            await Following(self._kubernetes, "Pod", self._labels, _read).run(self)
        finally:
            _running.discard(self)
            for key in list(self._losing):
                self._stop_timing(key)

    async def replace(self, listing: Listing[PodStatus | None]) -> None:
        """Take a list: a Pod that is not in it is gone."""
        own = [pod for pod in listing.items if pod and pod.uid not in self._disowned]
        found = sorted(own, key=lambda pod: pod.created_at)
        listed: dict[str, PodStatus] = {}
        for pod in found:
            listed.setdefault(pod.container_label, pod)
        async for key in in_turns([key for key in self._pods if key not in listed]):
            self._forget(key)
        async for key, pod in in_turns(listed.items()):
            self._know(key, pod)
        self.synced.set()
        for listener in self._list_listeners:
            listener()

    def take(self, kind: str, item: PodStatus | None) -> None:
        """Take one event of the watch."""
        if item is None or item.uid in self._disowned or self._is_another(item):
            return
        if kind == "DELETED":
            self._pods[item.container_label] = item  # its last state may tell an exit code
            self._forget(item.container_label)
        else:
            self._know(item.container_label, item)

    def heard(self, version: str) -> None:
        """Note that the API server has told something."""
        del version
        self._heard_at = time.monotonic()

    def interrupted(self) -> None:
        """Nothing to do: what was seen was so, and its age tells how long ago."""

    def _is_another(self, pod: PodStatus) -> bool:
        """
        Whether a container has a Pod already, and this one is not of the same Job.

        Of one whose Pod is gone, any other is: a container runs once, and its end has been told.
        """
        known, gone = self._pods.get(pod.container_label), self._gone.get(pod.container_label)
        if known is None:
            return gone is not None and gone.uid != pod.uid
        return known.uid != pod.uid and known.job != pod.job

    def _know(self, key: str, pod: PodStatus) -> None:
        self._pods[key] = pod = self._with_begun(pod)
        self._gone.pop(key, None)
        self._time(key, pod)
        self._wake(key)

    def _with_begun(self, pod: PodStatus) -> PodStatus:
        """A Pod as its node told of it, where its own status is behind."""
        for status in pod.containers:
            place = pod.name, status.name
            if (at := self._began.get(place)) is None:
                continue
            if status.started_at or status.termination:
                del self._began[place]
            else:
                pod = pod.with_begun(status.name, at=at)
        return pod

    def _forget(self, key: str) -> None:
        self._gone[key] = self._pods.pop(key)
        self._stop_timing(key)
        self._wake(key)

    def _time(self, key: str, pod: PodStatus) -> None:
        """Give a Pod that is being deleted its time, counted from when that was seen."""
        if pod.grace_seconds is None or pod.has_ended:
            self._stop_timing(key)
            self._lost.pop(key, None)
        elif key not in self._lost:
            loop = asyncio.get_running_loop()
            at = loop.time() + pod.grace_seconds + _LATE_SECONDS
            if (earlier := self._losing.get(key)) and earlier.when() <= at:
                return
            self._stop_timing(key)
            self._losing[key] = loop.call_at(at, self._lose, key)

    def _stop_timing(self, key: str) -> None:
        if timer := self._losing.pop(key, None):
            timer.cancel()

    def _lose(self, key: str) -> None:
        """Take a Pod for lost whose time is over, unless its end may have been missed."""
        self._losing.pop(key, None)
        if self.age_seconds > _UNHEARD_SECONDS:
            loop = asyncio.get_running_loop()
            self._losing[key] = loop.call_later(_LATER_SECONDS, self._lose, key)
            return
        self._lost[key] = None
        self._wake(key)

    def _wake(self, key: str) -> None:
        for future in self._waiters.pop(key, ()):
            if not future.done():
                future.set_result(None)
        for listener in self._listeners:
            listener(key)


@dataclass(frozen=True, slots=True)
class Sighting:
    """
    A Pod as last seen.

    `gone` if it was seen and is no more, which is not "not yet seen"; `lost` if it was deleted, and
    its node has not ended it in time.
    """

    pod: PodStatus | None
    gone: bool
    lost: bool = False


class Sightings:
    """Iterates over sightings of one Pod; changes that come together are one sighting."""

    def __init__(self, watch: PodWatch, key: str) -> None:
        self._watch = watch
        self._key = key
        self._last: Sighting | None = None

    def __aiter__(self) -> "Sightings":
        return self

    async def __anext__(self) -> Sighting:
        while (now := self._watch.see(self._key)) == self._last:
            await self._watch.changed(self._key)
        self._last = now
        return now


def _oldest_seconds() -> float:
    """The age of the watch that was heard least lately; 0 if none runs."""
    return max((watch.age_seconds for watch in _running), default=0.0)


metrics.WATCH_AGE_SECONDS.set_function(_oldest_seconds)


def _read(pod: Manifest) -> PodStatus | None:
    """Return a Pod's status; None if the Pod is none of ours, a copy of one, or damaged."""
    status = pod_status.read(pod)
    if isinstance(status, DamagedPod):
        log.warning("damaged pod is left alone", pod=status.name, cause=status.cause)
        return None
    return status if status.container_label and not status.is_copy else None
