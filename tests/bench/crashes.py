"""(l) From a crash of chaincode to the answer to its peer's next call."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from tests.bench.install import DOCKERD, Side, loaded_daemon
from tests.bench.place import BenchError, Place, Stopwatch, folder, running, say
from tests.bench.report import Row
from tests.bench.starts import any_moment
from tests.lab import pairs
from tests.lab import registry as lab
from tests.lab.pairs import PODS, REGISTRY, Pair
from tests.lab.peer import Package, Peer, PeerError

BEFORE, BESIDE, PULLED = "delivery", "delivery, puller beside", "registry, image on the node"
CRASHES = 20
HOW = (
    "A peer's double of 3.1.5 has launched the chaincode `go`, a real shim over TLS.  It is told "
    "to exit in a call; once the peer knows that its stream has ended, the next call follows, at a "
    f"random moment of the kubelet's second: from there to the call's answer, {CRASHES} times on "
    "each side, whatever the runs of other parts.  In between are stop, kill, remove, create, "
    "upload and start, the process, its registration and the call itself.  The sides take turns."
)

_VERSION = "3.1.5"
_PAUSE_SECONDS = 1.0


async def measure(place: Place) -> list[Row]:
    """Rows for each side."""
    taken: dict[str, list[float]] = {}
    async with _sides(place) as sides, AsyncExitStack() as stack:
        launched = {side: await stack.enter_async_context(_launched(side)) for side in sides}
        for number in range(1, CRASHES + 1):
            for side, (peer, package) in launched.items():
                await any_moment()
                taken.setdefault(side.name, []).append(await _crashed(peer, package))
            last = ", ".join(f"{name} {seconds[-1]:.2f} s" for name, seconds in taken.items())
            say(f"(l) crash {number}: {last}")
    return [
        Row("l", f"crash to next call answered, {name}", "s", tuple(seconds))
        for name, seconds in taken.items()
    ]


async def _crashed(peer: Peer, package: Package) -> float:
    """Seconds of the first call after a crash."""
    try:
        await peer.invoke(package, "exit", "3")
    except PeerError:
        watch = Stopwatch()
        await peer.invoke(package, "get", "a")
        seconds = watch.seconds
        await asyncio.sleep(_PAUSE_SECONDS)  # what was left behind is no other's burden
        return seconds
    raise BenchError("the chaincode did not exit")


@asynccontextmanager
async def _launched(side: Side) -> AsyncIterator[tuple[Peer, Package]]:
    """A peer, and its package that runs."""
    async with Peer.start(
        _VERSION, endpoint=side.endpoint, host_address=side.host_address, peer_id="crashes"
    ) as peer:
        package = await peer.install("go", label=f"bench{secrets.token_hex(4)}_1")
        await peer.launch(package)
        await peer.invoke(package, "put", "a", "1")
        yield peer, package
        await peer.stop(package)


@asynccontextmanager
async def _sides(place: Place) -> AsyncIterator[list[Side]]:
    """Peithos in each mode, and dockerd."""
    host = place.cluster.host_address
    with (
        folder() as path,
        lab.registry(path / "registry", password=True) as registry,
        loaded_daemon() as docker,
    ):
        await pairs.mirror(registry)
        async with (
            running(place.cluster) as delivering,
            running(place.cluster, chaincode={"puller": "beside"}) as besides,
            running(place.cluster, **Pair(PODS, REGISTRY).settings(registry)) as pushing,
        ):
            yield [
                Side(BEFORE, delivering.url, host),
                Side(BESIDE, besides.url, host),
                Side(PULLED, pushing.url, host),
                Side(DOCKERD, docker[-1], "127.0.0.1"),
            ]
