"""All checks of a set-up, one after the other: what one finds keeps no other from being made."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial

from peitho.clients.docker import Docker
from peitho.clients.kubernetes.api import Kubernetes
from peitho.errors import PeithoError
from peitho.program import composition
from peitho.program.checks import (
    access,
    certificates,
    cluster,
    files,
    outside,
    pods,
    pull_secrets,
    storage,
    timeouts,
    versions,
)
from peitho.program.checks.finding import Finding, wrong
from peitho.program.checks.pull_secrets import Needed
from peitho.settings import tenants
from peitho.settings.models import Settings

# The clients try again for as long as a peer would wait; somebody looks on here.
_LONGEST_SECONDS = 20.0
_PODS_SECONDS = 150.0
_KEEP_NO_POD_OUT = ("peers", "pull secrets")

_Findings = AsyncIterator[Finding]


@dataclass(frozen=True, slots=True)
class PodChecks:
    """Which images are tried in Pods: those of builds, and those of chaincode."""

    builders: tuple[str, ...] = ("hyperledger/fabric-ccenv:2.5",)
    runtimes: tuple[str, ...] = ("hyperledger/fabric-baseos:2.5",)


async def findings(
    settings: Settings, asked: PodChecks | None, *, with_peers: bool = True
) -> AsyncIterator[Finding]:
    """Yield a line for each thing that was looked at; without `asked` no Pod is made."""
    async for finding in _of_settings(settings):
        yield finding
    async with AsyncExitStack() as stack:
        try:
            kubernetes = await stack.enter_async_context(composition.connected(settings))
        except PeithoError as error:
            for finding in cluster.unreachable(error):
                yield finding
            kubernetes = None
        if kubernetes:
            async for finding in _of_cluster(settings, kubernetes, asked, with_peers=with_peers):
                yield finding
        if settings.peitho.image_mode == "registry":
            async for finding in _told("registry", lambda: outside.registry(settings)):
                yield finding
        async for finding in _of_daemon(settings, stack):
            yield finding


async def with_little(settings: Settings, kubernetes: Kubernetes) -> _Findings:
    """Yield a line for what is looked at without a Pod, a push, or a call at a peer."""
    async for finding in _of_settings(settings):
        yield finding
    async for finding in _told("Kubernetes", lambda: cluster.answers(kubernetes)):
        yield finding
    for name, own in tenants.each(settings):
        theirs = kubernetes.in_namespace(own.kubernetes.namespace)
        whose = f"tenant {name}: " if settings.access.tenants else ""
        for what, check in (
            ("rights", partial(cluster.may_do_its_work, theirs)),
            ("admission", partial(cluster.takes_its_pods, own, theirs)),
        ):
            async for finding in _told(what, check):
                yield replace(finding, name=f"{whose}{finding.name}")


async def _of_settings(settings: Settings) -> _Findings:
    """Look at what is on this machine, in threads: the disk may take its time."""
    for look in (
        partial(access.access, settings),
        partial(certificates.certificates, settings),
        partial(files.files, settings),
        partial(storage.storage, settings),
        partial(timeouts.timeouts, settings),
        versions.versions,
    ):
        for finding in await asyncio.to_thread(_all, look):
            yield finding


def _all(look: Callable[[], Iterator[Finding]]) -> list[Finding]:
    return list(look())


async def _of_cluster(
    settings: Settings, kubernetes: Kubernetes, asked: PodChecks | None, *, with_peers: bool
) -> _Findings:
    is_there = True
    async for finding in _told("Kubernetes", lambda: cluster.answers(kubernetes)):
        is_there = is_there and finding.status != "wrong"
        yield finding
    if not is_there:
        return
    async for finding in _of_namespace(settings, kubernetes, asked, with_peers=with_peers):
        yield finding
    for name, own in tenants.each(settings):
        theirs = kubernetes.in_namespace(own.kubernetes.namespace)
        if theirs.namespace != kubernetes.namespace:
            async for finding in _of_namespace(own, theirs, asked, with_peers=with_peers):
                yield replace(finding, name=f"tenant {name}: {finding.name}")


async def _of_namespace(
    settings: Settings, kubernetes: Kubernetes, asked: PodChecks | None, *, with_peers: bool
) -> _Findings:
    """Look at a namespace of chaincode: each has rights, policies and peers of its own."""
    is_there = True
    named = Needed(asked.builders, asked.runtimes) if asked else Needed()
    needed = named if with_peers else None  # a start that is tried again would log in each time
    made: list[tuple[str, Callable[[], _Findings]]] = [
        ("rights", lambda: cluster.may_do_its_work(kubernetes)),
        ("admission", lambda: cluster.takes_its_pods(settings, kubernetes)),
        ("pull secrets", lambda: pull_secrets.pull_secrets(settings, kubernetes, needed)),
    ]
    if with_peers:
        made.append(("peers", lambda: outside.peers(settings, kubernetes)))
    for name, check in made:
        async for finding in _told(name, check):
            is_there = is_there and (finding.status != "wrong" or name in _KEEP_NO_POD_OUT)
            yield finding
    if asked and is_there:  # else no Pod would come to be
        async for finding in _of_pods(settings, kubernetes, asked):
            yield finding


async def _of_pods(settings: Settings, kubernetes: Kubernetes, asked: PodChecks) -> _Findings:
    peers = await outside.known_peers(settings, kubernetes)
    # With a daemon, no Pod has a builder image.
    builders = () if settings.docker.endpoint else asked.builders
    for name, check in (
        (
            "images",
            lambda: pods.images(settings, kubernetes, builders=builders, runtimes=asked.runtimes),
        ),
        ("delivery", lambda: pods.reach(settings, kubernetes, peers=peers)),
    ):
        async for finding in _told(name, check, seconds=_PODS_SECONDS):
            yield finding


async def _of_daemon(settings: Settings, stack: AsyncExitStack) -> _Findings:
    try:
        docker: Docker | None = await stack.enter_async_context(composition.docker(settings.docker))
    except PeithoError as error:
        yield wrong("Docker daemon", str(error), "see to docker.endpoint and its certificates")
        return
    if docker:
        async for finding in _told("Docker daemon", lambda: outside.daemon(settings, docker)):
            yield finding


async def _told(
    name: str, check: Callable[[], _Findings], *, seconds: float = _LONGEST_SECONDS
) -> _Findings:
    """Yield what a check finds; what ends it is a line, too."""
    found: list[Finding] = []
    try:
        async with asyncio.timeout(seconds):
            found += [finding async for finding in check()]
    except TimeoutError:
        found.append(wrong(name, f"no answer within {seconds:g} s", "see whether it is up"))
    except PeithoError as error:
        found.append(wrong(name, str(error), "see to what it says"))
    except ExceptionGroup as raised:
        matched, rest = raised.split(PeithoError)
        if rest or not matched:
            raise
        found += [wrong(name, cause, "see to what it says") for cause in _causes(matched)]
    for finding in found:
        yield finding


def _causes(group: ExceptionGroup[PeithoError]) -> Iterator[str]:
    """Each cause once: what asks several times hears the same."""
    yield from dict.fromkeys(str(error) for error in group.exceptions)
