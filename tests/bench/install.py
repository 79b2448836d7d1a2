"""(a) Install of one Go package, cold, through Peitho and through dockerd."""

import hashlib
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.place import Place, Stopwatch, folder, running, say
from tests.bench.report import Row
from tests.lab import images, layers
from tests.lab.daemon import daemon
from tests.lab.machine import CACHE, run, step
from tests.lab.peer import Peer, build_chaincode

HOW = (
    "A peer's double over the library of that release installs the chaincode `go` (a real shim's "
    "modules, vendored); timed from the install to its end, so with the probe where the release "
    "has one, compile, download and image build.  Each run has a package and a source of its own, "
    "so that no earlier build is used.  Cold: Go's cache is empty (GOCACHE), so the standard "
    "library and all modules are compiled; warm: the builder image has them compiled.  Peitho and "
    "dockerd take turns."
)
PEITHO, DOCKERD = "Peitho", "dockerd"

_DAEMON = "bench"


@dataclass(frozen=True, slots=True)
class _Case:
    """A release, and whether the builder image's compiled packages are kept out of use."""

    version: str
    cold: bool

    @property
    def what(self) -> str:
        """As it is in the table."""
        how = "cold" if self.cold else "warm"
        return f"install of a Go package, {how}, peer {self.version}"

    @property
    def build_env(self) -> tuple[str, ...]:
        """What the peer gives to its build container."""
        return ("GOCACHE=/tmp/cold",) if self.cold else ()


CASES = (_Case("3.1.5", cold=True), _Case("2.2.15", cold=False), _Case("3.1.5", cold=False))


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two that are compared."""

    name: str
    endpoint: str
    host_address: str


async def measure(place: Place) -> list[Row]:
    """Rows for each case: Peitho, dockerd, and what Peitho takes more."""
    with loaded_daemon() as docker:
        async with running(place.cluster) as peitho:
            sides = (
                Side(PEITHO, peitho.url, place.cluster.host_address),
                Side(DOCKERD, docker[-1], "127.0.0.1"),
            )
            seconds: dict[tuple[_Case, str], list[float]] = {}
            for number in range(1, place.runs + 1):
                for case in CASES:
                    for side in sides:
                        taken = await _install(side, case, docker)
                        seconds.setdefault((case, side.name), []).append(taken)
                        say(f"(a) run {number}: {case.what}, {side.name}: {taken:.2f} s")
    return [row for case in CASES for row in _rows(case, seconds)]


def _rows(case: _Case, seconds: dict[tuple[_Case, str], list[float]]) -> list[Row]:
    ours, theirs = seconds[case, PEITHO], seconds[case, DOCKERD]
    more = [mine - other for mine, other in zip(ours, theirs, strict=True)]
    return [
        Row("a", f"{case.what}, Peitho", "s", tuple(ours)),
        Row("a", f"{case.what}, dockerd", "s", tuple(theirs)),
        Row("a", f"{case.what}, Peitho minus dockerd", "s", tuple(more)),
    ]


async def _install(side: Side, case: _Case, docker: list[str]) -> float:
    token = secrets.token_hex(4)
    with folder() as work:
        return await install(
            side,
            new_source(work, token),
            version=case.version,
            label=f"bench{token}_1",
            build_env=case.build_env,
            docker=docker,
        )


async def install(  # noqa: PLR0913  what an install is
    side: Side,
    source: Path,
    *,
    version: str,
    label: str,
    docker: list[str],
    build_env: tuple[str, ...] = (),
    builder_image: str = "",
    language: str = "golang",
) -> float:
    """Seconds that a peer's install takes; dockerd's image is removed again."""
    async with Peer.start(
        version,
        endpoint=side.endpoint,
        host_address=side.host_address,
        build_env=build_env,
        builder_image=builder_image,
    ) as peer:
        watch = Stopwatch()
        package = await peer.install(source, label=label, language=language)
        taken = watch.seconds
    if side.name == DOCKERD:
        run([*docker, "image", "rm", "--force", package.image])
    return taken


def new_source(work: Path, token: str) -> Path:
    """The chaincode with a comment that no other has: equal sources might be built once."""
    source = work / "go"
    shutil.copytree(build_chaincode("go"), source)
    with (source / "main.go").open("a") as file:
        file.write(f"\n// {token}\n")
    return source


@contextmanager
def loaded_daemon(*, bridge: tuple[str, str] | None = None) -> Iterator[list[str]]:
    """A dockerd with the stand-ins of Fabric's images, which it keeps from one time to the next."""
    key = hashlib.sha256(layers.key("all").encode()).hexdigest()
    marker = CACHE / "dockerd" / _DAEMON / "images"
    with daemon(_DAEMON, bridge=bridge) as docker:
        if not marker.exists() or marker.read_text() != key:
            archive = images.archive()
            with step("loading the images into dockerd"):
                run([*docker, "load", "--quiet", "--input", archive])
            marker.write_text(key)
        yield docker
