"""
That a Peitho which follows other settings is as one that was started with them, key by key.

Whole builds and launches after a change are told by tests/journeys.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from peitho.clients.docker import DaemonTlsFiles, Docker
from peitho.clients.kubernetes.api import Kubernetes
from peitho.clients.kubernetes.pod_watch import PodWatch
from peitho.core.tasks import BackgroundTasks
from peitho.formats.records import ContainerSpec
from peitho.program import composition
from peitho.program.composition import Composition
from peitho.settings import changes, loading
from peitho.settings.models import Settings
from tests.support.archives import archive_bytes, file
from tests.support.contexts import chunks
from tests.support.kubernetes_double import ApiServer

SPEC = ContainerSpec(image="ccenv", command=("go", "build"), entrypoint=(), env=())
TEMPLATE = {"metadata": {"labels": {"a": "b"}}}
# Every setting that is followed, and another value than in BASE.
OTHER: Mapping[str, Any] = {
    "peitho.pullerAccessAddress": "other:1",
    "peitho.pullerImage": "other:1",
    "k8s.dns": ["10.0.0.1:peer"],
    "images.rewrite": {"*": "mirror/*"},
    "images.retention": 5,
    "images.limitBytes": 5,
    "docker.network": "builds",
    "docker.registry.email": "a@b.c",
    "docker.registry.username": "other",
    "docker.registry.username-file": "/other",
    "docker.registry.password": "other",
    "docker.registry.password-file": "/other",
    "docker.registry.pull-secret": "other",
    "sweeper.enable": False,
    "sweeper.interval": 5,
    "sweeper.retention": 5,
    "sweeper.orphanAfter": 5,
    "builder.user": 5,
    "builder.users": {"*": 5},
    "builder.startTimeoutSeconds": 5,
    "builder.deadlineSeconds": 5,
    "builder.abandonedAfterSeconds": 5,
    "builder.maxParallel": 5,
    "builder.cache.limitBytes": 5,
    "builder.cache.maxAgeSeconds": 5,
    "builder.resources.cpuRequest": "5m",
    "builder.resources.cpuLimit": "5m",
    "builder.resources.memoryRequest": "5Mi",
    "builder.resources.memoryLimit": "5Mi",
    "builder.template": TEMPLATE,
    "chaincode.user": 5,
    "chaincode.users": {"*": 5},
    "chaincode.startTimeoutSeconds": 5,
    "chaincode.settleSeconds": 5,
    "chaincode.resources.cpuRequest": "5m",
    "chaincode.resources.cpuLimit": "5m",
    "chaincode.resources.memoryRequest": "5Mi",
    "chaincode.resources.memoryLimit": "5Mi",
    "chaincode.template": TEMPLATE,
    "chaincode.overrides": [{"match": {"label": "a*"}, "template": TEMPLATE}],
    "limits.archiveEntries": 5,
    "limits.archiveBytes": 5,
    "limits.outputBytes": 5,
}
# Those of the log are no part's: `logs` follows them.
ELSEWHERE = {"log.level", "log.format", "log.enable-color"}
BASE: Mapping[str, Any] = {
    "peitho.imageMode": "registry",
    "docker.registry.server-address": "registry.example:5000",
    "docker.registry.username": "robot",
}
# What is the same for all, and what is no value of anybody's settings.
_OUTSIDE = (Kubernetes, Docker, PodWatch, asyncio.Event, asyncio.Task)


def settings(directory: Path, **keys: object) -> Settings:
    """Settings by dotted keys."""
    tree: dict[str, Any] = {"dataDir": directory / "data"}
    for key, value in {**BASE, **keys}.items():
        *above, last = key.split(".")
        below = tree
        for each in above:
            below = below.setdefault(each, {})
        below[last] = value
    return Settings.model_validate(tree, by_alias=True, by_name=False)


@asynccontextmanager
async def composer(directory: Path) -> AsyncIterator["Composer"]:
    """Makes the parts, as often as wanted, before a cluster and a daemon that is away."""
    (directory / "data").mkdir()
    noted = {"kept": {"since": 0, "until": time.time()}}  # else each make has its own beginning
    (directory / "data/usage.json").write_text(json.dumps(noted))
    async with (
        ApiServer.start() as cluster,
        cluster.client(directory) as kubernetes,
        Docker.connect(f"unix://{directory}/none", tls=DaemonTlsFiles()) as docker,
        asyncio.TaskGroup() as group,
    ):
        tasks = BackgroundTasks(group)
        yield Composer(cluster, kubernetes, docker, tasks)
        tasks.cancel()


class Composer:
    """A cluster, a daemon, and what is put together before them."""

    def __init__(
        self, cluster: ApiServer, kubernetes: Kubernetes, docker: Docker, tasks: BackgroundTasks
    ) -> None:
        self.cluster = cluster
        self._kubernetes, self._docker, self._tasks = kubernetes, docker, tasks

    def make(self, wanted: Settings, *, daemon: bool) -> Composition:
        """All parts."""
        docker = self._docker if daemon else None
        return composition.compose(wanted, self._kubernetes, self._tasks, docker=docker)


def taken(part: object, path: str = "", seen: frozenset[int] = frozenset()) -> dict[str, object]:
    """All values that a part holds, and those that it holds others by, by their place."""
    found: dict[str, object] = {}
    for name, value in _attributes(part):
        place = f"{path}.{name}"
        if id(value) in seen or isinstance(value, _OUTSIDE) or callable(value):
            continue
        if type(value).__module__.startswith("peitho.") and _attributes(value):
            found |= taken(value, place, seen | {id(value)})
        else:
            found[place] = value if isinstance(value, _PLAIN) else type(value)
    return found


_PLAIN = (str, bytes, int, float, type(None), Path, tuple, list, dict)


def _attributes(part: object) -> list[tuple[str, Any]]:
    slots = [name for kind in type(part).__mro__ for name in getattr(kind, "__slots__", ())]
    held = {name: getattr(part, name) for name in slots if hasattr(part, name)}
    return [*{**held, **getattr(part, "__dict__", {})}.items()]


def kept_by_restart() -> Iterator[str]:
    """What is neither followed by a part, nor by the log, nor has a meaning."""
    for leaf in loading.setting_keys():
        if leaf.key not in {*OTHER, *ELSEWHERE, *loading.MEANINGLESS}:
            yield leaf.key


def test_every_setting_is_followed_or_needs_a_restart() -> None:
    """
    A new one is put into `live.NEED_RESTART`, or into OTHER above, which holds it to its word.
    """
    assert changes.NEED_RESTART == {*kept_by_restart()}
    assert not changes.NEED_RESTART & {*OTHER, *ELSEWHERE}


@pytest.mark.parametrize("key", OTHER)
async def test_what_follows_a_setting_is_as_if_started_with_it(tmp_path: Path, key: str) -> None:
    """
    With builds in Pods and in a daemon; and in one of them at least, something is different.
    """
    base, other = settings(tmp_path), settings(tmp_path, **{key: OTHER[key]})
    assert ((key,), ()) == (
        changes.change(base, other).followed,
        changes.change(base, other).waiting,
    )
    differs = []
    async with composer(tmp_path) as parts:
        for daemon in (False, True):
            running = parts.make(base, daemon=daemon)
            before = taken(running)
            running.follow(other)

            assert taken(parts.make(other, daemon=daemon)) == taken(running)
            differs.append(taken(running) != before)

    assert any(differs)


async def test_builds_asked_for_before_a_change_are_as_they_were(tmp_path: Path) -> None:
    """
    Also one that waits for its turn: an equal one that comes later does not join it.
    """
    one = settings(tmp_path, **{"builder.maxParallel": 1})
    other = settings(tmp_path, **{"builder.maxParallel": 5, "builder.template": TEMPLATE})
    async with composer(tmp_path) as parts:
        running = parts.make(one, daemon=False)
        builds = running.services.builds
        made = [builds.create(SPEC, peer=peer) for peer in "abc"]
        await made[0].put_archive("/chaincode/input", chunks(archive_bytes([file("a", b"")])))
        for build in made[:2]:
            builds.tasks.spawn(build.start(), name="start")
        await parts.cluster.until_asked("POST", "pods")

        running.follow(other)
        builds.tasks.spawn(made[2].start(), name="start")
        await parts.cluster.until_asked("POST", "pods", times=3)

        labels = [
            parts.cluster.objects[f"pods/{each.summary().kubernetes_name}"]["metadata"]["labels"]
            for each in made
        ]
        assert [None, None, "b"] == [each.get("a") for each in labels]
        for build in made:
            await build.remove()
