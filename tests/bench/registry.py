"""(e) A layer on a runtime image, pushed to a registry, beside `docker push` of the same."""

import asyncio
import io
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

from peitho.clients.disk.storage import Storage
from peitho.clients.registry.registries import Registries
from peitho.core.images.publisher import get
from peitho.core.images.registry import RegistryPublisher, RegistryPublisherOptions
from peitho.core.images.store import BuildResults, ImageStore
from peitho.formats.tar import ArchiveLimits
from peitho.settings.live import Live
from tests.bench.place import Place, Stopwatch, folder, say
from tests.bench.report import Row
from tests.lab import images, layers
from tests.lab import registry as lab
from tests.lab.daemon import daemon
from tests.lab.machine import go, run
from tests.support.accounts import account
from tests.support.docker_calls import archive, context

MOST_SECONDS = 1.5
HOW = (
    "An image whose one file is 20 MB of Go's own programs, new in each run, is put together; "
    "then the clock runs for the append to the runtime image's manifest and the push to Debian's "
    "docker-registry on loopback, which has the runtime image already.  Then the same for a second "
    "peer.  `docker push` is of an image of the same file on the same runtime image, built before, "
    "by Debian's dockerd to the same registry; it compresses the layer, Peitho does not.  The two "
    "take turns."
)

_BASE = "hyperledger/fabric-baseos"
_FILE_BYTES = 20_000_000


async def measure(place: Place) -> list[Row]:
    """Rows for both."""
    ours: list[float] = []
    second: list[float] = []
    docker: list[float] = []
    with (
        folder() as path,
        lab.registry(path / "registry") as running,
        daemon("bench-registry") as client,
    ):
        registries = Registries(running.endpoint, account())
        async with asyncio.TaskGroup() as group:
            closing = group.create_task(registries.run())
            baseos = images.find(f"docker.io/{_BASE}:2.5")
            await lab.push(await registries.own(), baseos, _BASE, "2.5")
            storage = Storage.open(path / "data")
            local = ImageStore(storage, BuildResults(), limits=Live(ArchiveLimits()))
            rewrite = {"hyperledger/*": f"{running.address}/hyperledger/*"}
            pushing = RegistryPublisher(
                local,
                storage,
                registries,
                Live(RegistryPublisherOptions(running.address, "ours", "amd64", rewrite)),
            )
            await asyncio.to_thread(_import_base, client)
            for number in range(place.runs + 1):
                program = await asyncio.to_thread(_program)
                mine = await _ours(local, pushing, f"net-peer0-run{number}", program)
                other = await _ours(local, pushing, f"net-peer1-run{number}", program)
                theirs = await asyncio.to_thread(
                    _docker, client, running.address, path / "context", program
                )
                if not number:
                    continue  # the runtime image is pushed, and read, with the first
                ours.append(mine)
                second.append(other)
                docker.append(theirs)
                say(f"(e) run {number}: {mine:.2f} s, again {other:.2f} s, docker {theirs:.2f} s")
            closing.cancel()
    more = tuple(mine - theirs for mine, theirs in zip(ours, docker, strict=True))
    return [
        Row("e", "append and push of 20 MB, Peitho", "s", tuple(ours), at_most=MOST_SECONDS),
        Row("e", "push of the same, docker push", "s", tuple(docker)),
        Row("e", "append and push, Peitho minus docker push", "s", more, at_most=0),
        Row("e", "the same package for a second peer, Peitho", "s", tuple(second)),
    ]


async def _ours(local: ImageStore, pushing: RegistryPublisher, name: str, program: bytes) -> float:
    package = archive({"chaincode": (0o755, program)})
    await local.build(name, _chunks(context(package)))
    watch = Stopwatch()
    await get(pushing, name)
    return watch.seconds


def _docker(client: list[str], address: str, folder: Path, program: bytes) -> float:
    folder.mkdir(exist_ok=True)
    (folder / "chaincode").write_bytes(program)
    (folder / "Dockerfile").write_text("FROM baseos\nADD chaincode /usr/local/bin/\n")
    name = f"{address}/docker/mycc:{secrets.token_hex(4)}"
    run([*client, "build", "-q", "-t", name, "."], cwd=folder, env={"DOCKER_BUILDKIT": "0"})
    watch = Stopwatch()
    run([*client, "push", "-q", name])
    return watch.seconds


def _import_base(client: list[str]) -> None:
    run([*client, "import", layers.layer("baseos"), "baseos"])


def _program() -> bytes:
    """As compressible as compiled Go is, and new each time."""
    root = Path(run([*go(), "env", "GOROOT"]).strip())
    content = secrets.token_bytes(64)
    for path in sorted((root / "bin").iterdir()) * 3:
        content += path.read_bytes()
    return content[:_FILE_BYTES]


async def _chunks(body: bytes) -> AsyncIterator[bytes]:
    stream = io.BytesIO(body)
    while chunk := stream.read(1 << 20):
        yield chunk
