"""What is over goes, what is not ours stays."""

import asyncio
import os
import socket
import sys
from pathlib import Path

from tests.lab.beside import beside
from tests.lab.cluster import Cluster
from tests.lab.peitho import PROJECT, Peitho, namespace
from tests.support.docker_calls import Calls
from tests.support.observe import alive, until

QUICK = {"interval": 0.5, "retention": 0, "orphanAfter": 4}
# A start is answered when the process runs.
AT_ONCE = {"settleSeconds": 0}


def names(peitho: Peitho) -> set[str]:
    """The containers that have a Secret, by their name for the peer."""
    found = (each["metadata"].get("annotations", {}) for each in peitho.objects("secrets"))
    return {each["peitho/name"] for each in found if "peitho/name" in each}


def command(port: int) -> list[str]:
    """A peer's command of a chaincode, with the peer's address."""
    return ["chaincode", f"-peer.address=127.0.0.1:{port}"]


@beside
async def test_what_is_over_goes_and_what_has_its_peer_stays(
    cluster: Cluster, tmp_path: Path
) -> None:
    """
    Ended chaincode, and chaincode whose peer refuses connections; nothing foreign, nothing alive.
    """
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = closed.getsockname()[1]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        await _swept(cluster, tmp_path, listener.getsockname()[1], nobody)


async def _swept(cluster: Cluster, tmp_path: Path, port: int, nobody: int) -> None:
    async with (
        namespace(cluster) as name,
        Peitho.start(cluster, name, tmp_path, sweeper=QUICK, chaincode=AT_ONCE) as peitho,
        Calls.to(peitho) as calls,
    ):
        await asyncio.to_thread(peitho.kubectl, "create", "secret", "generic", "foreign")
        await calls.make_image("image-lives")
        await calls.make_image("image-ends", "sleep 2; exit 3")
        async with asyncio.TaskGroup() as tasks:
            for each, image, at in (
                ("lives", "image-lives", port),
                ("ends", "image-ends", port),
                ("orphan", "image-lives", nobody),
                ("waited", "image-lives", nobody),
            ):
                tasks.create_task(_started(calls, each, image, at))
        async with asyncio.TaskGroup() as tasks:
            wait = tasks.create_task(calls.wait("waited"))
            await until(lambda: names(peitho) == {"lives", "waited"})
            wait.cancel()

        await until(lambda: names(peitho) == {"lives"})
        assert 1 == len(alive(peitho, "lives"))
        await asyncio.to_thread(peitho.kubectl, "get", "secret", "foreign")
        # That no container has an image is no reason for it to go.
        assert 200 == (await calls.call("GET", "/images/image-ends/json")).status


async def _started(calls: Calls, name: str, image: str, port: int) -> None:
    await calls.create(name, image, command(port))
    assert 204 == (await calls.start(name)).status


@beside
async def test_a_dry_run_tells_and_removes_nothing(cluster: Cluster, tmp_path: Path) -> None:
    """
    `peitho sweep --dry-run` prints what would go and why; without it, it goes.
    """
    settings = {"enable": False, "retention": 0}
    async with (
        namespace(cluster) as name,
        Peitho.start(cluster, name, tmp_path, sweeper=settings, chaincode=AT_ONCE) as peitho,
        Calls.to(peitho) as calls,
    ):
        await calls.make_image("image-ends", "exit 3")
        await calls.create("ends", "image-ends")
        await calls.start("ends")
        assert 3 == await calls.wait("ends")
        await until(lambda: _is_noted(peitho))

        told = await _sweep(tmp_path, "--dry-run")
        assert "chaincode ends: over for " in told
        assert "1 would go" in told
        assert {"ends"} == names(peitho)

        assert "1 removed" in await _sweep(tmp_path)
        await until(lambda: not names(peitho))


def _is_noted(peitho: Peitho) -> bool:
    secrets = peitho.objects("secrets", labels="peitho/kind=chaincode")
    return all("peitho/exit" in each["metadata"]["annotations"] for each in secrets)


async def _sweep(folder: Path, *flags: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "peitho", "sweep", "--config", str(folder / "peitho.yml"), *flags),
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(PROJECT / "src")},  # noqa: TID251  Peitho's own process
    )
    out, _ = await process.communicate()
    assert 0 == process.returncode
    return out.decode()
