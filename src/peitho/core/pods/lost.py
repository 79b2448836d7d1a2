"""
Pods whose node does not end them: they are let go of.

A Pod that is deleted stays until its node says that it has ended, for ever if the node is down.
Once it counts as lost, nobody waits for it any more, and it is deleted by force: should the node
come back, its kubelet ends what has no Pod.
"""

import structlog

from peitho.clients.kubernetes.api import Kubernetes
from peitho.clients.kubernetes.pod_watch import PodWatch
from peitho.core.tasks import BackgroundTasks, until_done
from peitho.formats.kubernetes.pod_status import PodStatus

log = structlog.get_logger()


class LostPods:
    """Deletes lost Pods by force, as the watch tells of them."""

    def __init__(self, kubernetes: Kubernetes, watch: PodWatch, tasks: BackgroundTasks) -> None:
        self._kubernetes = kubernetes
        self._watch = watch
        self._tasks = tasks

    def start(self) -> None:
        """Take news from now on."""
        self._watch.listen(self._take_news)

    def _take_news(self, key: str) -> None:
        sighting = self._watch.see(key)
        if sighting.lost and sighting.pod and not sighting.gone:
            work = self._let_go(sighting.pod)
            self._tasks.spawn(work, name=f"lost pod {sighting.pod.name}")

    async def _let_go(self, pod: PodStatus) -> None:
        async def delete() -> bool:
            return await self._kubernetes.delete("Pod", pod.name, grace_seconds=0, uid=pod.uid)

        log.warning("pod lost with its node", pod=pod.name)
        await until_done(delete, what="letting go of a lost Pod")
