"""Equal builds are carried out once; those beyond the limit wait, and peers take turns."""

import asyncio
from pathlib import Path

import aiohttp
import pytest

from tests.lab.beside import beside
from tests.lab.cluster import Cluster
from tests.lab.peitho import Peitho, namespace
from tests.support.attached import built
from tests.support.docker_calls import Calls, archive
from tests.support.observe import builds, restarts, until

# Fifty launches at once want the machine for themselves.
pytestmark = pytest.mark.alone

SOURCE = archive({"src/main.go": (0o644, b"package main\n")})
# Says and makes something that no second run would.
ONCE = "sleep 2; cat /proc/sys/kernel/random/uuid | tee /chaincode/output/id"
PEERS = 10
LAUNCHES = 50


async def install(calls: Calls, peitho: Peitho, script: str) -> tuple[int, bytes, bytes]:
    """A peer's build, from create to remove: exit code, output and result."""
    build = await calls.create_build(script)
    assert 200 == (await calls.put(build, SOURCE)).status
    code, output = await built(calls, build)
    url = f"{peitho.http}/containers/{build}/archive"
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, params={"path": "/chaincode/output/."}) as response,
    ):
        result = await response.read()
    await calls.remove(build)
    return code, output, result


@beside
async def test_ten_peers_that_install_one_package_compile_it_once(
    cluster: Cluster, tmp_path: Path
) -> None:
    """
    All are told the same, and a peer that comes later, after a restart too, gets what was kept.
    """
    async with namespace(cluster) as name, Peitho.start(cluster, name, tmp_path) as peitho:
        async with Calls.to(peitho) as calls, asyncio.TaskGroup() as tasks:
            installs = [tasks.create_task(install(calls, peitho, ONCE)) for _ in range(PEERS)]
            await until(lambda: bool(builds(peitho)))
            assert 1 == len(peitho.objects("pods"))
        codes, outputs, results = zip(*(each.result() for each in installs), strict=True)
        ids = {output.splitlines()[-1] for output in outputs}
        assert ({0}, 1, 1) == (set(codes), len(ids), len(set(results)))
        assert PEERS - 1 == sum(b"under way for another peer" in each for each in outputs)

        await until(lambda: _kept(peitho) == 1)
        await peitho.end()
        await peitho.begin()
        async with Calls.to(peitho) as calls:
            code, output, result = await install(calls, peitho, ONCE)

        assert (0, results[0]) == (code, result)
        assert [b" ---> Using cache", *ids] == output.splitlines()
        assert 1 == peitho.log.read_text().count("build ended")


def _kept(peitho: Peitho) -> int:
    """How many builds the cache has: they are kept a moment after peers have their result."""
    return len(list((peitho.data_dir / "builds").glob("*/about.json")))


@beside
async def test_a_build_that_failed_is_done_anew(cluster: Cluster, tmp_path: Path) -> None:
    """
    Nothing of it is kept.
    """
    script = "cat /proc/sys/kernel/random/uuid; exit 3"
    async with (
        namespace(cluster) as name,
        Peitho.start(cluster, name, tmp_path) as peitho,
        Calls.to(peitho) as calls,
    ):
        first, second = [await install(calls, peitho, script) for _ in range(2)]

    assert (3, 3) == (first[0], second[0])
    assert first[1] != second[1]


@beside
async def test_builds_beyond_the_limit_wait_and_peers_take_turns(
    cluster: Cluster, tmp_path: Path
) -> None:
    """
    One that comes last, of a peer that has sent no other, is the second to run.
    """
    ended: list[str] = []

    async def built(calls: Calls, peitho: Peitho, who: str) -> bytes:
        _, output, _ = await install(calls, peitho, f"echo {who}; sleep 2")
        ended.append(who)
        return output

    async with (
        namespace(cluster) as name,
        Peitho.start(cluster, name, tmp_path, builder={"maxParallel": 1}) as peitho,
        Calls.to(peitho, address="127.0.0.2") as busy,
        Calls.to(peitho, address="127.0.0.3") as other,
        asyncio.TaskGroup() as tasks,
    ):
        first = tasks.create_task(built(busy, peitho, "busy 1"))
        await until(lambda: bool(builds(peitho)))
        second = tasks.create_task(built(busy, peitho, "busy 2"))
        third = tasks.create_task(built(busy, peitho, "busy 3"))
        await until(lambda: peitho.log.read_text().count("archive uploaded") == 3)
        tasks.create_task(built(other, peitho, "other"))

    waits = b"as many builds are running as builder.maxParallel allows, 1"
    assert waits not in first.result()
    assert waits in second.result()
    assert waits in third.result()
    assert ["busy 1", "other"] == ended[:2]


@beside
async def test_a_build_killed_for_memory_says_so(cluster: Cluster, tmp_path: Path) -> None:
    """
    In its output, which is what the peer's error shows.
    """
    resources = {"memoryLimit": "48Mi"}
    async with (
        namespace(cluster) as name,
        Peitho.start(cluster, name, tmp_path, builder={"resources": resources}) as peitho,
        Calls.to(peitho) as calls,
    ):
        build = await calls.create_build("tail /dev/zero; exit $?")
        code, output = await built(calls, build)
        await calls.remove(build)

    assert 137 == code
    assert b"OOMKilled" in output


@pytest.mark.timeout(400)
async def test_ten_installs_and_fifty_launches_at_once_end_right(
    cluster: Cluster, tmp_path: Path
) -> None:
    """
    Each build has its own result, each chaincode one Pod that was never started again.
    """
    async with (
        namespace(cluster) as name,
        Peitho.start(cluster, name, tmp_path) as peitho,
        Calls.to(peitho) as calls,
    ):
        await calls.make_image("image-many")
        async with asyncio.TaskGroup() as tasks:
            installs = [
                tasks.create_task(install(calls, peitho, f"echo {number}"))
                for number in range(PEERS)
            ]
            launches = [
                tasks.create_task(calls.launch(f"many-{number}", "image-many"))
                for number in range(LAUNCHES)
            ]
        said = [each.result()[1].splitlines()[-1] for each in installs]
        assert [str(number).encode() for number in range(PEERS)] == said
        assert {204} == {each.result().status for each in launches}
        assert {0} == set().union(*(restarts(peitho, f"many-{n}") for n in range(LAUNCHES)))
        async with asyncio.TaskGroup() as tasks:
            for number in range(LAUNCHES):
                tasks.create_task(calls.remove(f"many-{number}"))
