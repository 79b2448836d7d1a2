"""
`make demo`: a chaincode is compiled, launched, crashes, comes back and is removed, on Kubernetes.

Peitho runs as its own Deployment; the part of the peer is taken by the double of the tests, which
calls it by the library that a peer of 2.5.16 links.  Ends with status 0 only if all of it was seen.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

from rich.console import Console

from tests.lab import cluster as lab
from tests.lab import images, peer
from tests.lab.cluster import Cluster, answers
from tests.lab.deployed import deploy, discard
from tests.lab.machine import CACHE, LabError, require_root_on_linux
from tests.lab.peer import Event, Package, Peer, PeerError
from tests.lab.progress import Progress, is_bar_shown, shown
from tests.support.observe import until

NAMESPACE = "peitho-demo"
CHAINCODE_NAMESPACE = "peitho-demo-chaincode"
VERSION = "2.5.16"
EXIT_CODE = 7
# The images that a Go package needs, by their upmost layers.
LAYERS = ("baseos", "ccenv")

# Long lines are left to the terminal, which wraps them where they can be copied whole.
_CONSOLE = Console(highlight=False, soft_wrap=True)
# About what they take on two cores, before a run has told.
_FIRST_SECONDS = {"cluster is up": 20.0, "cluster is built": 60.0, "nothing is built": 720.0}
_SECONDS = {
    "start Peitho": 8.0,
    "install": 15.0,
    "launch": 6.0,
    "invoke": 1.0,
    "crash": 3.0,
    "launch again": 4.0,
    "remove": 3.0,
    "clean up": 15.0,
}
_BOLD, _RED, _GREEN = 1, 31, 32
_ENVIRONMENT = os.environ  # noqa: TID251  the demo's own settings: KEEP, IMAGE, KUBECONFIG


_Made = TypeVar("_Made")


class DemoError(Exception):
    """Something that should have been seen was not."""


def _styled(style: int, text: str) -> str:
    return f"\033[{style}m{text}\033[0m" if sys.stdout.isatty() else text


@contextmanager
def step(progress: Progress, name: str, what: str) -> Iterator[None]:
    """Print what is done, how far all is, and in the end how long it took."""
    progress.begin(name)
    print(_styled(_BOLD, f"\n{what}"), flush=True)
    if not is_bar_shown(_CONSOLE):
        print(f"  {progress.line()}", flush=True)
    yield
    print(f"  {progress.end():.1f} s", flush=True)


def known_progress() -> Progress:
    """The steps, with seconds for the first run; what is to be made first depends on the cache."""
    is_made = any(CACHE.glob("kubernetes-*"))
    first = (
        "cluster is up" if lab.is_up() else "cluster is built" if is_made else "nothing is built"
    )
    return Progress({first: _FIRST_SECONDS[first]} | _SECONDS, CACHE / "demo.json")


def expect(condition: object, what: str) -> None:
    """Say what was seen, or fail with it."""
    if not condition:
        raise DemoError(f"not so: {what}")
    print(f"  {_styled(_GREEN, 'ok')} {what}", flush=True)


def _kubectl(cluster: Cluster, namespace: str, *words: str) -> str:
    return cluster.run_kubectl("-n", namespace, *words)


def show(cluster: Cluster, *kinds: str) -> None:
    """What `kubectl get` prints."""
    command = ["get", ",".join(kinds), "-l", "peitho/instance"]
    print(f"  $ kubectl -n {CHAINCODE_NAMESPACE} {' '.join(command)}")
    for line in _kubectl(cluster, CHAINCODE_NAMESPACE, *command).splitlines():
        print(f"    {line}")


@asynccontextmanager
async def endpoint(cluster: Cluster, address: str) -> AsyncIterator[str]:
    """Where the peer reaches Peitho: its Service, or a forwarded port for a cluster elsewhere."""
    if cluster.own:
        yield f"tcp://{address}:8080"
        return
    command = ["-n", NAMESPACE, "port-forward", "service/peitho", ":8080"]
    process = await asyncio.create_subprocess_exec(
        *cluster.kubectl, *command, stdout=asyncio.subprocess.PIPE
    )
    try:
        line = (await process.stdout.readline()).decode() if process.stdout else ""
        if not line:
            raise DemoError("kubectl port-forward to Peitho's Service did not start")
        yield f"tcp://{line.split()[2]}"  # Forwarding from 127.0.0.1:40123 -> 8080
    finally:
        process.terminate()
        await process.wait()


async def story(cluster: Cluster, url: str, progress: Progress) -> None:
    """Install, launch, invoke, crash, launch again, remove: as a peer does."""
    async with Peer.start(
        VERSION, endpoint=url, host_address=cluster.host_address, on_event=_tell
    ) as it:
        with step(
            progress, "install", f"A peer {VERSION} installs a Go package: it is compiled in a Pod"
        ):
            package = await it.install("go", label="asset_1")
            print(f"  package ID {package.id}")
            (compiled,) = (each for each in it.steps("build") if each.status == "ok")
            expect(
                compiled, f"the image was put together from what the Pod compiled: {package.image}"
            )
        with step(
            progress, "launch", "It commits the package: the chaincode is launched, as a Job"
        ):
            await it.launch(package)
            registered = await it.expect("registered", package=package)
            expect(registered, "the chaincode connected back over TLS, and registered")
            show(cluster, "secrets", "jobs", "pods")
        with step(progress, "invoke", "It invokes it"):
            await _invoke(it, package)
        with step(progress, "crash", f"The chaincode crashes with {EXIT_CODE}"):
            await _crash(it, package)
            show(cluster, "jobs", "pods")
        with step(progress, "launch again", "The next call launches it again"):
            answer = await it.invoke(package, "get", "color")
            expect(answer.payload == "blue", "the answer is right")
        with step(progress, "remove", "The peer removes it"):
            await it.stop(package)
            expect(not _left(cluster), "no Secret and no Job of it is left")


def _tell(event: Event) -> None:
    if event.event == "step":
        outcome = "" if event.status == "ok" else f"  {event.status[:100]}"
        print(f"  {event.step:14} {event.seconds:6.2f} s{outcome}", flush=True)
    elif event.event in ("registered", "exit"):
        code = "" if event.code is None else f" {event.code}"
        print(f"  {event.event}{code}", flush=True)


async def _invoke(it: Peer, package: Package) -> None:
    await it.invoke(package, "put", "color", "blue")
    answer = await it.invoke(package, "get", "color")
    expect(answer.payload == "blue", "it wrote to the ledger, and read from it")
    key = (await it.invoke(package, "env", "CORE_TLS_CLIENT_KEY_PATH")).payload
    content = (await it.invoke(package, "file", key)).payload
    expect(content, f"it has its TLS key, at {key}")


async def _crash(it: Peer, package: Package) -> None:
    try:
        await _until_settled(it)
        await it.invoke(package, "exit", str(EXIT_CODE))
    except PeerError as error:
        print(f"  the peer says: {error}")
    end = await it.expect("exit", package=package)
    expect(end.code == EXIT_CODE, f"the peer was told the exit code, {end.code}")


def _left(cluster: Cluster) -> str:
    labels = "peitho/instance"
    words = ("get", "secrets,jobs", "-l", labels, "-o", "name")
    return _kubectl(cluster, CHAINCODE_NAMESPACE, *words)


async def prepare() -> tuple[Cluster, str]:
    """
    A cluster with all images, and the name of Peitho's.

    What a new machine lacks is made at the same time: much of it waits for downloads.
    """
    image = _ENVIRONMENT.get("IMAGE", "")
    if not _ENVIRONMENT.get("KUBECONFIG"):
        require_root_on_linux()
    async with asyncio.TaskGroup() as parts:
        brought_up = parts.create_task(_part(lab.up))
        parts.create_task(_part(_make, with_peitho=not image))
    cluster = brought_up.result()
    if cluster.own:
        await asyncio.to_thread(images.ensure, *LAYERS)
    if not image:
        await asyncio.to_thread(images.ensure_peitho)
    return cluster, image or images.PEITHO


async def _part(make: Callable[..., _Made], **how: bool) -> _Made:
    """What a part makes; that it failed is said at once, since the other goes on for minutes."""
    try:
        return await asyncio.to_thread(make, **how)
    except LabError as error:
        print(f"lab: {error}\nlab: this ends once what has begun is over", flush=True)
        raise


def _make(*, with_peitho: bool) -> None:
    if not _ENVIRONMENT.get("KUBECONFIG"):
        images.make(*LAYERS)
    if with_peitho:
        images.peitho()
    peer.build_peers(peer.library(VERSION))
    peer.build_chaincode("go")


async def demo() -> None:
    """All of it."""
    began = time.monotonic()
    progress = known_progress()
    with shown(progress, _CONSOLE):
        await _tell_all(progress)
    seconds = time.monotonic() - began
    print(_styled(_BOLD, f"\nThe demo is over: all was as it should be, {seconds:.0f} s"))


async def _tell_all(progress: Progress) -> None:
    was_up = lab.is_up()
    with step(progress, progress.first, "A Kubernetes, Peitho's image, and a peer"):
        cluster, image = await prepare()
    try:
        with step(progress, "start Peitho", "Peitho starts, as a Deployment from its own image"):
            address = deploy(cluster, image, peitho=NAMESPACE, chaincode=CHAINCODE_NAMESPACE)
            for line in _kubectl(cluster, NAMESPACE, "get", "deployment,pod,service").splitlines():
                print(f"    {line}")
        async with endpoint(cluster, address) as url:
            # The Pod is ready before every node knows the way from the Service to it.
            await until(lambda: answers(f"{url.replace('tcp', 'http', 1)}/_ping"))
            await story(cluster, url, progress)
    except BaseException:
        print(
            _kubectl(cluster, NAMESPACE, "logs", "deployment/peitho", "--tail=20"), file=sys.stderr
        )
        raise
    finally:
        if _ENVIRONMENT.get("KEEP"):
            _how_to_look_around(cluster)
        else:
            with step(progress, "clean up", "Cleaning up"):
                _clean(cluster, stop=not was_up)


def _clean(cluster: Cluster, *, stop: bool) -> None:
    discard(cluster, peitho=NAMESPACE, chaincode=CHAINCODE_NAMESPACE)
    if stop:
        lab.down()


def _how_to_look_around(cluster: Cluster) -> None:
    kubectl = " ".join(cluster.kubectl)
    print(
        f"\nIt is left running (make cluster-down ends it):\n"
        f"  {kubectl} -n {NAMESPACE} get all\n"
        f"  {kubectl} -n {CHAINCODE_NAMESPACE} get secrets,jobs,pods\n"
        f"  {kubectl} -n {NAMESPACE} logs deployment/peitho\n"
        f"  {kubectl} -n {NAMESPACE} port-forward service/peitho 8080 &\n"
        f"  docker -H tcp://127.0.0.1:8080 ps -a"
    )


async def _until_settled(it: Peer) -> None:
    """`start` watches a new process for a moment more: what ends in it is told by that call."""
    await until(lambda: it.steps("create", "start")[-1].step == "start")


def main() -> int:
    """0 if all was seen; 1 with what was not."""
    failed = False
    try:
        asyncio.run(demo())
    except* (LabError, DemoError, PeerError) as raised:
        failed = True
        for error in raised.exceptions:
            print(f"\n{_styled(_RED, 'The demo failed:')} {error}", file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
