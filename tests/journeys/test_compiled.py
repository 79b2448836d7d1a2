"""Packages that Go chaincode has in common are compiled once, and no build can poison them."""

import hashlib
import io
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from peitho.formats import tar
from peitho.formats.docker import go_packages
from peitho.formats.tar import ArchiveLimits
from tests.lab.cluster import Cluster
from tests.lab.peitho import Peitho, namespace
from tests.support.attached import built
from tests.support.docker_calls import Calls, archive
from tests.support.observe import builds, until

# The lab's builder image has packages compiled; the public one has no such cache.
_AS_PUBLIC = [{"name": "XDG_CACHE_HOME", "value": "/tmp/none"}]
_TEMPLATE = {"spec": {"containers": [{"name": "build", "env": _AS_PUBLIC}]}}
_BUILD = (
    "cd /chaincode/input/src && "
    "GO111MODULE=on go build -v -mod=vendor -o /chaincode/output/chaincode . 2>&1"
)
# What was compiled becomes something else, under the names that Go knows it by.
_POISON = (
    'for file in $(find "$(go env GOCACHE)" -name "*-d"); do echo poison > "$file"; done; '
    'find "$(go env GOCACHE)" -name "*-d" | head -n 1 | xargs cat'
)
_SECONDS = 600


_DEP = (
    'package dep\n\nimport "fmt"\n\n// Say says.\n'
    'func Say(what string) { fmt.Println("dep says", what) }\n'
)
_WITH_C = _DEP.replace("import", '// #include <stdlib.h>\nimport "C"\nimport', 1)
_WITH_MAIN = _DEP.replace('"fmt"', '("fmt"; _ "cc/own")')
# The cache that the lab's builder image has: the standard library need not be compiled again.
_WARM = "/home/chaincode/.cache/go-build"


def source(said: str, dep: str = _DEP) -> bytes:
    """A chaincode with one package that it vendors."""
    files = {
        "go.mod": "module cc\n\ngo 1.24\n\nrequire example.com/dep v1.0.0\n",
        "main.go": (
            f'package main\n\nimport "example.com/dep"\n\nfunc main() {{ dep.Say("{said}") }}\n'
        ),
        "vendor/modules.txt": "# example.com/dep v1.0.0\n## explicit; go 1.24\nexample.com/dep\n",
        "vendor/example.com/dep/dep.go": dep,
    }
    if "cc/own" in dep:
        files["own/own.go"] = 'package own\n\n// int x;\nimport "C"\n'
    return archive({f"src/{name}": (0o644, each.encode()) for name, each in files.items()})


class Builds:
    """Builds of peers, by hand."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self.peitho = calls.peitho

    async def carry_out(
        self, said: str, command: str = _BUILD, *, env: tuple[str, ...] = ()
    ) -> tuple[int, str, dict[str, str]]:
        """A build from create to remove: its exit code, what it said, its files' digests."""
        image = "hyperledger/fabric-ccenv:2.5"
        created = await self._calls.create("", image, ["/bin/sh", "-c", command], list(env))
        build = str(created.body["Id"])
        await self._calls.put(build, source(said))
        code, output = await built(self._calls, build)
        files = await self._files(build) if code == 0 else {}
        await self._calls.remove(build)
        return code, output.decode(), files

    async def _files(self, build: str) -> dict[str, str]:
        url = f"{self.peitho.http}/containers/{build}/archive?path=/chaincode/output/."
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            content = tar.read_files(io.BytesIO(await response.read()), limits=ArchiveLimits())
        return {name: hashlib.sha256(each).hexdigest() for name, each in content.items()}

    def kept(self) -> int:
        """How many builds are kept, those of Peitho's own among them."""
        return len(list((self.peitho.data_dir / "builds").glob("*/about.json")))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def public(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Builds]:
    """A Peitho whose builder image has nothing compiled."""
    folder = tmp_path_factory.mktemp("compiled")
    async with (
        namespace(cluster) as name,
        Peitho.start(cluster, name, folder, builder={"template": _TEMPLATE}) as peitho,
        Calls.to(peitho) as calls,
    ):
        yield Builds(calls)


@pytest.mark.timeout(_SECONDS)
async def test_the_second_package_compiles_itself_alone(public: Builds) -> None:
    """
    The first compiles all; then Peitho compiles what both have in common, without any of it.

    A build that fails, or replaces what it was given, changes nothing for those that come later:
    their binary is the one of a build that was given nothing.
    """
    code, said, _ = await public.carry_out("first", f"{_BUILD} && {_POISON}")
    assert (0, True, True) == (code, "example.com/dep\n" in said, "fmt\n" in said), said
    await until(lambda: public.kept() == 2, seconds=_SECONDS)

    code, said, _ = await public.carry_out("second", f"{_BUILD} && {_POISON}")
    assert (0, "cc\npoison\n") == (code, said)
    code, said, _ = await public.carry_out("failing", f"{_POISON}; exit 3")
    assert (3, "poison\n") == (code, said)

    code, said, files = await public.carry_out("third")
    assert (0, "cc\n") == (code, said)
    alone = await public.carry_out("third", env=("GOCACHE=/tmp/own",))
    assert "fmt\n" in alone[1]
    assert alone[2] == files
    await until(lambda: public.kept() == 5)
    assert 6 == public.peitho.log.read_text().count('"event": "build ended"')
    await until(lambda: not builds(public.peitho))


@pytest.mark.parametrize(
    ("dep", "left"),
    [(_DEP, 0), (_WITH_C, 1), (_WITH_MAIN, 1)],
    ids=["Go", "C", "C of the chaincode itself"],
)
async def test_a_package_with_c_is_not_compiled_by_peitho(
    calls: Calls, dep: str, left: int
) -> None:
    """
    A C compiler would take flags from it; the chaincode's own build compiles it.
    """
    script = go_packages.spec("ccenv").command[2]
    after = (
        "cd /chaincode/input/src && GOCACHE=/chaincode/output go build -v -mod=vendor -o /tmp/x ."
    )
    command = ["/bin/sh", "-c", f'/bin/sh -c "$1" && {after}', "sh", script]
    image = "hyperledger/fabric-ccenv:2.5"
    created = await calls.create("", image, command, [f"GOCACHE={_WARM}", "HOME=/tmp"])
    build = str(created.body["Id"])
    await calls.put(build, source("it", dep))

    code, said = await built(calls, build)

    assert 0 == code, said
    assert left == said.count(b"example.com/dep\n"), said
    await calls.remove(build)
