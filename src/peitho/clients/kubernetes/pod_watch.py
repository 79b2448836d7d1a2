"""
A cache of the Pods of this Peitho, kept up to date by one list and watch.

A Pod that the watch has not told of yet is never taken for gone.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from peitho import metrics
from peitho.clients.kubernetes.api import Kubernetes, KubernetesError
from peitho.errors import PeithoError
from peitho.formats.bounded_dict import BoundedDict
from peitho.formats.kubernetes import pod_status
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.kubernetes.pod_status import DamagedPod, PodStatus

log = structlog.get_logger()

_GONE = 410
_PAUSE_SECONDS = 1.0
_REMEMBERED_GONE = 10_000


class PodWatch:
    """
    The Pods of this Peitho as last seen; each is known by its container label, its key.

    List, then watch. A watch that ends is resumed at its version; after `410 Gone` a list comes
    first, which also shows the Pods that vanished meanwhile.
    """

    def __init__(self, kubernetes: Kubernetes, *, labels: Mapping[str, str]) -> None:
        self._kubernetes = kubernetes
        self._labels = dict(labels)
        self._pods: dict[str, PodStatus] = {}
        self._gone: BoundedDict[str, PodStatus] = BoundedDict(_REMEMBERED_GONE)
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
            return Sighting(pod=pod, gone=False)
        return Sighting(pod=self._gone.get(key), gone=key in self._gone)

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

    async def run(self) -> None:
        """List and watch for ever; after an error, log it and try again a second later."""
        while True:
            try:
                await self._list_and_watch()
            except (PeithoError, ValueError, KeyError) as error:
                log.warning("watch interrupted", cause=str(error) or type(error).__name__)
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _list_and_watch(self) -> None:
        pods, version = await self._kubernetes.find_with_version("Pod", labels=self._labels)
        self._replace(pods)
        self.synced.set()
        for listener in self._list_listeners:
            listener()
        try:
            while True:
                began = time.monotonic()
                async for event in self._kubernetes.watch(
                    "Pod", labels=self._labels, version=version
                ):
                    version = event["object"]["metadata"]["resourceVersion"]
                    self._heard()
                    self._take(event)
                self._heard()
                if time.monotonic() - began < _PAUSE_SECONDS:
                    await asyncio.sleep(
                        _PAUSE_SECONDS
                    )  # it ended at once: do not ask without a pause
        except KubernetesError as error:
            if error.code != _GONE:
                raise
            log.info("watch too old, listing again")

    def _heard(self) -> None:
        self._heard_at = time.monotonic()
        metrics.WATCH_AGE_SECONDS.set_function(lambda: self.age_seconds)

    def _replace(self, pods: list[Manifest]) -> None:
        self._heard()
        listed = {pod.container_label: pod for manifest in pods if (pod := _read(manifest))}
        for key in [key for key in self._pods if key not in listed]:
            self._forget(key)
        for key, pod in listed.items():
            self._know(key, pod)

    def _take(self, event: Manifest) -> None:
        if event["type"] == "BOOKMARK":
            return
        pod = _read(event["object"])
        if pod is None:
            return
        if event["type"] == "DELETED":
            self._pods[pod.container_label] = pod  # its last state may tell an exit code
            self._forget(pod.container_label)
        else:
            self._know(pod.container_label, pod)

    def _know(self, key: str, pod: PodStatus) -> None:
        self._pods[key] = pod
        self._gone.pop(key, None)
        self._wake(key)

    def _forget(self, key: str) -> None:
        self._gone[key] = self._pods.pop(key)
        self._wake(key)

    def _wake(self, key: str) -> None:
        for future in self._waiters.pop(key, ()):
            if not future.done():
                future.set_result(None)
        for listener in self._listeners:
            listener(key)


@dataclass(frozen=True, slots=True)
class Sighting:
    """A Pod as last seen; `gone` if it was seen and is no more, which is not "not yet seen"."""

    pod: PodStatus | None
    gone: bool


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


def _read(pod: Manifest) -> PodStatus | None:
    """Return a Pod's status; None if the Pod is none of ours, or is damaged."""
    status = pod_status.read(pod)
    if isinstance(status, DamagedPod):
        log.warning("damaged pod is left alone", pod=status.name, cause=status.cause)
        return None
    return status if status.container_label else None
