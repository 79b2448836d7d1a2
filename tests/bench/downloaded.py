"""(m) Install of Node and Java packages, first and later ones, with a registry at a distance."""

import asyncio
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.install import DOCKERD, PEITHO, Side, install, loaded_daemon
from tests.bench.place import BenchError, Place, folder, running, say
from tests.bench.report import Row
from tests.lab import images, packages
from tests.lab.cluster import Cluster
from tests.lab.javaenv import CHAINCODE as JAVA
from tests.lab.packages import Registry
from tests.lab.peer import build_chaincode
from tests.lab.peitho import Peitho
from tests.support.observe import builds, until

HOW = (
    "A peer's double of 3.1.5 installs chaincode whose source is new in each run.  The "
    "builder images have nothing that builds download, as the public ones; a registry on this "
    "machine has all of it, and answers each request 25 ms later.  Java: the chaincode `java`, by "
    "Maven and by Debian's Gradle.  Node: the chaincode `node`, whose lock file names 79 "
    "packages.  Peitho is as it is by default, and for Java a second one has "
    "`builder.cache.packages` on; dockerd keeps nothing between builds.  `first` is before "
    "anything was kept.  They take turns; a ratio is of neighbors.  Half the runs of other parts."
)
KEPT = f"{PEITHO} keeping packages"

_VERSION = "3.1.5"
_GOAL = 0.5
_DELAY_SECONDS = 0.025
# Addresses of the lab's bridge that no Pod will have.
_BRIDGE = ("peitho0", "10.88.250.0/24")
_AS_ROOT = {"users": {"*fabric-javaenv*": 0}}
_IDLE_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class _Case:
    """
    A chaincode: how it is written for a registry, and the file in which a comment makes it new.

    The first of its sides is the one that the goal is for.
    """

    what: str
    kind: str
    file: str
    write: Callable[[Path, Registry], None]
    sides: tuple[str, ...]


@dataclass(slots=True)
class _Taken:
    """What installs of one side took: seconds, and how often they asked the registry."""

    seconds: list[float] = field(default_factory=list)
    requests: list[int] = field(default_factory=list)


def _maven(source: Path, registry: Registry) -> None:
    shutil.copytree(JAVA, source, ignore=shutil.ignore_patterns("*.gradle"))
    mirror = f"<mirror><id>bench</id><mirrorOf>*</mirrorOf><url>{registry.url}</url></mirror>"
    (source / "settings.xml").write_text(f"<settings><mirrors>{mirror}</mirrors></settings>\n")
    (source / "mvnw").write_text('#!/bin/sh\nexec mvn -B -s settings.xml "$@"\n')


def _gradle(source: Path, registry: Registry) -> None:
    shutil.copytree(JAVA, source, ignore=shutil.ignore_patterns("pom.xml"))
    recipe = source / "build.gradle"
    theirs, ours = "mavenCentral()", f"maven {{ url '{registry.url}' }}"
    recipe.write_text(recipe.read_text().replace(theirs, ours))
    (source / "gradlew").write_text('#!/bin/sh\nexec gradle --no-daemon "$@"\n')


def _node(source: Path, registry: Registry) -> None:
    shutil.copytree(build_chaincode("node"), source)
    settings = (f"registry={registry.npm_url}", "replace-registry-host=always", "offline=false")
    (source / ".npmrc").write_text("\n".join([*settings, ""]))


_SOURCE = "src/main/java/lab/LabJava.java"
_CASES = (
    _Case("Java (Maven)", "java", _SOURCE, _maven, (KEPT, PEITHO, DOCKERD)),
    _Case("Java (Gradle)", "java", _SOURCE, _gradle, (KEPT, PEITHO, DOCKERD)),
    _Case("Node", "node", "index.js", _node, (PEITHO, DOCKERD)),
)


@dataclass(frozen=True, slots=True)
class _Setting:
    """Who takes part, and the registry that all of them ask."""

    docker: list[str]
    peithos: Mapping[str, Peitho]
    registry: Registry
    address: str

    def side(self, name: str) -> Side:
        """One of those that are compared."""
        endpoint = self.peithos[name].url if name in self.peithos else self.docker[-1]
        return Side(name, endpoint, self.address)

    async def rest(self, name: str) -> None:
        """Return once a side has nothing to do: what was downloaded is packed after a build."""
        if peitho := self.peithos.get(name):
            await until(lambda: not builds(peitho), seconds=_IDLE_SECONDS)


async def measure(place: Place) -> list[Row]:
    """Rows for each kind of package: each side's first and later installs, and the ratio."""
    if not place.cluster.own:
        raise BenchError("(m) needs the lab's own node, on whose bridge the registry is")
    rows: list[Row] = []
    for case in _CASES:
        async with _setting(place.cluster) as setting:
            rows += _rows(case, await _taken(case, 1 + (place.runs + 1) // 2, setting))
    return rows


@asynccontextmanager
async def _setting(cluster: Cluster) -> AsyncIterator[_Setting]:
    """New Peithos, which have nothing of another case, beside dockerd."""
    kept = {"builder": _AS_ROOT | {"cache": {"packages": True}}, "chaincode": _AS_ROOT}
    plain = {"builder": _AS_ROOT, "chaincode": _AS_ROOT}
    there = await asyncio.to_thread(packages.downloaded)
    with loaded_daemon(bridge=_BRIDGE) as docker:
        await asyncio.to_thread(images.ensure_empty, docker)
        address = cluster.host_address
        async with running(cluster, **kept) as keeping, running(cluster, **plain) as peitho:
            peithos = {KEPT: keeping, PEITHO: peitho}
            with packages.serving(address, there, delay_seconds=_DELAY_SECONDS) as registry:
                yield _Setting(docker, peithos, registry, address)


async def _taken(case: _Case, rounds: int, setting: _Setting) -> dict[str, _Taken]:
    """What each side took, round by round; they take turns."""
    taken = {name: _Taken() for name in case.sides}
    for number in range(rounds):
        for name, mine in taken.items():
            seconds = await _install(setting.side(name), case, setting)
            mine.seconds.append(seconds)
            mine.requests.append(setting.registry.requests())
            asked = f"{mine.requests[-1]} requests"
            say(f"(m) {case.what}, run {number}, {name}: {seconds:.2f} s, {asked}")
            await setting.rest(name)
    return taken


async def _install(side: Side, case: _Case, setting: _Setting) -> float:
    token = secrets.token_hex(4)
    with folder() as work:
        source = work / case.kind
        case.write(source, setting.registry)
        with (source / case.file).open("a") as changed:
            changed.write(f"\n// {token}\n")
        return await install(
            side,
            source,
            version=_VERSION,
            label=f"bench{token}_1",
            language=case.kind,
            builder_image=images.empty(f"{case.kind}env"),
            docker=setting.docker,
        )


def _rows(case: _Case, taken: Mapping[str, _Taken]) -> list[Row]:
    what = f"install of a {case.what} package"
    rows = [Row("m", f"{what}, first, {name}", "s", (taken[name].seconds[0],)) for name in taken]
    later = f"{what}, second and later"
    for name, each in taken.items():
        asked = tuple(float(number) for number in each.requests[1:])
        rows.append(Row("m", f"{later}, {name}", "s", tuple(each.seconds[1:])))
        rows.append(Row("m", f"{later}, {name}, requests", "", asked))
    measured = case.sides[0]
    pairs = zip(taken[measured].seconds[1:], taken[DOCKERD].seconds[1:], strict=True)
    ratios = tuple(ours / theirs for ours, theirs in pairs)
    return [*rows, Row("m", f"{later}, {measured} by dockerd", "", ratios, at_most=_GOAL)]
