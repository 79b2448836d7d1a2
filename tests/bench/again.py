"""(f) A second peer's install of the same package, in each pair of builder and mode."""

import asyncio
import io
import secrets
import tarfile
import time
from pathlib import Path

import aiohttp

from tests.bench.install import new_source
from tests.bench.place import BenchError, Place, Stopwatch, folder, running, say
from tests.bench.report import Row
from tests.lab import daemon as lab_daemon
from tests.lab import images, pairs
from tests.lab import registry as lab
from tests.lab.daemon import Daemon
from tests.lab.pairs import PAIRS
from tests.lab.peer import Event, Peer
from tests.lab.peitho import Peitho
from tests.support.attached import attach
from tests.support.docker_calls import Calls, context

MOST_SECONDS = 1.0
HOW = (
    "The chaincode `go` is installed, and then again by another peer in each run.  `peer`: a "
    "peer's double of 2.5.16, from its first call on; it compresses the image's context, as peers "
    "do, which is more than half of the time and no business of Peitho's.  `calls alone`: the same "
    "calls by hand, with all that is sent prepared, so what Peitho itself takes.  The registry is "
    "Debian's docker-registry on loopback, the daemon Debian's dockerd."
)

_VERSION = "2.5.16"
_COMPILE = "cd /chaincode/input/src && go build -mod=vendor -o /chaincode/output/chaincode ."


async def measure(place: Place) -> list[Row]:
    """Rows for each pair: as a peer sees it, and without the peer's own work."""
    rows = []
    with (
        folder() as path,
        lab.registry(path / "registry", password=True) as registry,
        lab_daemon.running(Daemon("builder")) as daemon,
    ):
        images.ensure_in(daemon)
        await pairs.mirror(registry)
        for pair in PAIRS:
            settings = pair.settings(registry, endpoint=daemon.endpoint)
            source = new_source(path / str(pair), secrets.token_hex(4))
            async with running(place.cluster, **settings) as peitho:
                peers = await _peers(peitho, source, place.runs)
                calls = await _calls(peitho, source, place.runs)
            what = f"install of a Go package again, {pair}"
            rows += [
                Row("f", f"{what}, peer", "s", peers, at_most=MOST_SECONDS),
                Row("f", f"{what}, calls alone", "s", calls, at_most=MOST_SECONDS),
            ]
            peer, alone = (row.median for row in rows[-2:])
            say(f"(f) {pair}: {peer:.2f} s, calls alone {alone:.2f} s")
    return rows


async def _peers(peitho: Peitho, source: Path, runs: int) -> tuple[float, ...]:
    """Seconds of each install but the first, by a peer of its own."""
    label = f"bench{secrets.token_hex(4)}_1"
    taken = []
    for number in range(runs + 1):
        begins: list[float] = []

        def note(event: Event, begins: list[float] = begins) -> None:
            if event.event == "step":
                begins.append(time.monotonic() - event.seconds)

        async with Peer.start(
            _VERSION,
            endpoint=peitho.url,
            host_address=peitho.cluster.host_address,
            peer_id=f"peer{number}",
            on_event=note,
        ) as peer:
            await peer.install(source, label=label)
            taken.append(time.monotonic() - min(begins))
    return tuple(taken[1:])


async def _calls(peitho: Peitho, source: Path, runs: int) -> tuple[float, ...]:
    """Seconds of each sequence of calls but the first."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(source, "src")
    taken = []
    async with Calls.to(peitho) as calls:
        sent = context(await _compiled(calls, packed.getvalue()))
        await calls.build("bench-first", sent)
        for _ in range(runs):
            watch = Stopwatch()
            await _compiled(calls, packed.getvalue())
            answer = await calls.build(f"bench-{secrets.token_hex(4)}", sent)
            taken.append(watch.seconds)
            if answer.status != 200:
                raise BenchError(f"the image was not built: {answer}")
    return tuple(taken)


async def _compiled(calls: Calls, source: bytes) -> bytes:
    """What a build container makes of a source: the tar of its output directory."""
    build = await calls.create_build(_COMPILE)
    await calls.put(build, source)
    url = f"{calls.peitho.http}/containers/{build}/archive?path=/chaincode/output/."
    async with asyncio.TaskGroup() as tasks:
        output = tasks.create_task(attach(calls.peitho, build, version="/v1.47"))
        await calls.start(build)
        code = await calls.wait(build)
    if code:
        raise BenchError(f"the build ended with {code}: {output.result()[-1000:]!r}")
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        made = await response.read()
    await calls.remove(build)
    return made
