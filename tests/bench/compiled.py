"""(j) Install of the second and later packages of a language, beside dockerd's cold install."""

import secrets
import shutil
from dataclasses import dataclass

from tests.bench.install import DOCKERD, PEITHO, Side, install, loaded_daemon
from tests.bench.place import Place, folder, running, say
from tests.bench.report import Row
from tests.lab.peer import build_chaincode
from tests.support.observe import builds, until

HOW = (
    "As in (a), a peer's double of 3.1.5 installs packages whose source is new in each run.  The "
    "builder image is as the public one is: it has nothing compiled (XDG_CACHE_HOME leads to an "
    "empty directory).  Peitho has carried out one install before that is not counted, and has "
    "then compiled what Go chaincode has in common; dockerd compiles all of it each time.  Node: "
    "the chaincode `node`, whose lock file names 79 packages, with an npm cache in the image, "
    "since there is no network.  Peitho and dockerd take turns; a ratio is of neighbors."
)

_VERSION = "3.1.5"
_AS_PUBLIC = ("XDG_CACHE_HOME=/tmp/none",)
_COMPILED_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class _Case:
    """A chaincode, the file in which a comment makes it new, and what the ratio may be at most."""

    language: str
    kind: str
    chaincode: str
    file: str
    build_env: tuple[str, ...]
    goal: float


_CASES = (
    _Case("Go", "golang", "go", "main.go", _AS_PUBLIC, 0.35),
    _Case("Node", "node", "node", "index.js", (), 0.5),
)


async def measure(place: Place) -> list[Row]:
    """Rows for each language: Peitho, dockerd, and the ratio."""
    rows = []
    with loaded_daemon() as docker:
        async with running(place.cluster) as peitho:
            sides = (
                Side(PEITHO, peitho.url, place.cluster.host_address),
                Side(DOCKERD, docker[-1], "127.0.0.1"),
            )
            for case in _CASES:
                first = await _install(sides[0], case, docker)
                await until(lambda: not builds(peitho), seconds=_COMPILED_SECONDS)
                say(f"(j) {case.language}, the first: {first:.2f} s")
                taken: list[float] = []
                for number in range(1, place.runs + 1):
                    taken += [await _install(side, case, docker) for side in sides]
                    ours, theirs = taken[-2:]
                    say(f"(j) {case.language}, run {number}: {ours:.2f} s, dockerd {theirs:.2f}")
                rows += _rows(case, tuple(taken[::2]), tuple(taken[1::2]))
    return rows


def _rows(case: _Case, ours: tuple[float, ...], theirs: tuple[float, ...]) -> list[Row]:
    what = f"install of a {case.language} package, second and later"
    ratios = tuple(one / other for one, other in zip(ours, theirs, strict=True))
    return [
        Row("j", f"{what}, Peitho", "s", ours),
        Row("j", f"{what}, dockerd", "s", theirs),
        Row("j", f"{what}, Peitho by dockerd", "", ratios, at_most=case.goal),
    ]


async def _install(side: Side, case: _Case, docker: list[str]) -> float:
    token = secrets.token_hex(4)
    with folder() as work:
        source = work / case.chaincode
        shutil.copytree(build_chaincode(case.chaincode), source)
        with (source / case.file).open("a") as changed:
            changed.write(f"\n// {token}\n")
        return await install(
            side,
            source,
            version=_VERSION,
            label=f"bench{token}_1",
            language=case.kind,
            build_env=case.build_env,
            docker=docker,
        )
