"""What is outside of Peitho: does it answer?"""

import asyncio
from pathlib import Path

from peitho.clients.kubernetes.pod_watch import PodWatch
from peitho.core.surroundings import Surroundings
from peitho.errors import Unavailable
from tests.support.kubernetes_double import ApiServer
from tests.support.measured import sample


async def answers() -> None:
    """What is there."""


async def refuses() -> None:
    """What is away."""
    raise Unavailable("nobody is there")


async def hangs() -> None:
    """What never says anything."""
    await asyncio.Event().wait()


async def test_each_is_told_by_itself(tmp_path: Path) -> None:
    """
    With its cause, in seconds, and as a metric.
    """
    probes = {"daemon": answers, "registry": refuses, "other": hangs}
    async with ApiServer.start() as server, server.client(tmp_path) as kubernetes:
        around = Surroundings(PodWatch(kubernetes, labels={}), probes)

        assert {
            "cluster": "the Kubernetes API has not been heard",
            "daemon": "",
            "registry": "nobody is there",
            "other": "no answer within 2 s",
        } == await around.look()

    parts = [("cluster", 0), ("daemon", 1), ("registry", 0), ("other", 0)]
    assert parts == [(part, sample("peitho_reachable", part=part)) for part, _ in parts]


async def test_what_was_told_last_asks_nobody(tmp_path: Path) -> None:
    """
    The cluster's own is always there, as its watch has it.
    """
    async with ApiServer.start() as server, server.client(tmp_path) as kubernetes:
        watch = PodWatch(kubernetes, labels={})
        around = Surroundings(watch, {"registry": refuses})

        assert {"cluster": "the Kubernetes API has not been heard"} == around.last
        await around.look()
        watch.heard("1")

        assert {"cluster": "", "registry": "nobody is there"} == around.last
        assert [] == server.requests
