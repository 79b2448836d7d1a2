"""
Which processes have begun, told by their nodes: an Event comes at once, a Pod's status within 1 s.

A kubelet writes a container's state when it looks at it, once a second, and an Event in the moment
in which the process begins. It may leave Events out when it has many, so the status still counts;
without the right to watch Events, it alone does.
"""

import asyncio
import time
from http import HTTPStatus

import structlog

from peitho.clients.kubernetes.api import Kubernetes, KubernetesError
from peitho.clients.kubernetes.pod_watch import PodWatch
from peitho.errors import PeithoError
from peitho.formats.kubernetes import events

log = structlog.get_logger()

_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0
# Whoever is given the right later need not restart Peitho.
_FORBIDDEN_PAUSE_SECONDS = 600.0


class StartedWatch:
    """Follows the Events on containers of one name, and tells the watch of Pods."""

    def __init__(self, kubernetes: Kubernetes, pods: PodWatch, *, container: str) -> None:
        self._kubernetes = kubernetes
        self._pods = pods
        self._fields = (
            f"involvedObject.kind=Pod,involvedObject.fieldPath=spec.containers{{{container}}},"
            f"reason={events.STARTED}"
        )
        self._version = ""

    async def run(self) -> None:
        """Follow them for ever; after an error go on where it was, with pauses that grow."""
        pause_seconds = _PAUSE_SECONDS
        while True:
            began = time.monotonic()
            try:
                await self._follow()
                if time.monotonic() - began >= _PAUSE_SECONDS:
                    pause_seconds = _PAUSE_SECONDS
                    continue
            except KubernetesError as error:
                self._version = ""
                if error.code == HTTPStatus.FORBIDDEN:
                    log.info("events not watched", cause=str(error))
                    await asyncio.sleep(_FORBIDDEN_PAUSE_SECONDS)
            except PeithoError as error:
                log.debug("events not watched", cause=str(error))
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                self._version = ""
                log.warning("watch damaged", cause=f"{type(error).__name__}: {error}")
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)

    async def _follow(self) -> None:
        async for news in self._kubernetes.watch(
            "Event", labels={}, version=self._version, fields=self._fields
        ):
            self._version = news["object"]["metadata"]["resourceVersion"]
            if news["type"] != "ADDED":
                continue
            if begun := events.begun_container(news["object"]):
                pod, container, at = begun
                self._pods.begin(pod, container, at=at)
