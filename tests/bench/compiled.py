"""(j) Install of the second and later Go packages, beside dockerd's cold install."""

import secrets

from tests.bench.install import DOCKERD, PEITHO, Side, install, loaded_daemon, new_source
from tests.bench.place import Place, folder, running, say
from tests.bench.report import Row
from tests.support.observe import builds, until

HOW = (
    "As in (a), a peer's double of 3.1.5 installs packages whose source is new in each run.  The "
    "builder image is as the public one is: it has nothing compiled (XDG_CACHE_HOME leads to an "
    "empty directory).  Peitho has carried out one install before that is not counted, and has "
    "then compiled what Go chaincode has in common; dockerd compiles all of it each time.  Peitho "
    "and dockerd take turns; a ratio is of neighbors."
)

_VERSION = "3.1.5"
_AS_PUBLIC = ("XDG_CACHE_HOME=/tmp/none",)
_COMPILED_SECONDS = 600.0
_GOAL = 0.35
_WHAT = "install of a Go package, second and later"


async def measure(place: Place) -> list[Row]:
    """Rows for Peitho, dockerd, and the ratio."""
    with loaded_daemon() as docker:
        async with running(place.cluster) as peitho:
            sides = (
                Side(PEITHO, peitho.url, place.cluster.host_address),
                Side(DOCKERD, docker[-1], "127.0.0.1"),
            )
            first = await _install(sides[0], docker)
            await until(lambda: not builds(peitho), seconds=_COMPILED_SECONDS)
            say(f"(j) the first: {first:.2f} s")
            taken: list[float] = []
            for number in range(1, place.runs + 1):
                taken += [await _install(side, docker) for side in sides]
                ours, theirs = taken[-2:]
                say(f"(j) run {number}: {ours:.2f} s, dockerd {theirs:.2f}")
    return _rows(tuple(taken[::2]), tuple(taken[1::2]))


def _rows(ours: tuple[float, ...], theirs: tuple[float, ...]) -> list[Row]:
    ratios = tuple(one / other for one, other in zip(ours, theirs, strict=True))
    return [
        Row("j", f"{_WHAT}, Peitho", "s", ours),
        Row("j", f"{_WHAT}, dockerd", "s", theirs),
        Row("j", f"{_WHAT}, Peitho by dockerd", "", ratios, at_most=_GOAL),
    ]


async def _install(side: Side, docker: list[str]) -> float:
    token = secrets.token_hex(4)
    with folder() as work:
        return await install(
            side,
            new_source(work, token),
            version=_VERSION,
            label=f"bench{token}_1",
            build_env=_AS_PUBLIC,
            docker=docker,
        )
