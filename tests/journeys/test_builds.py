"""What only builds in Pods have: failures, limits, and what is left behind."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.lab.beside import beside
from tests.lab.cluster import Cluster
from tests.lab.peitho import Peitho, namespace
from tests.support.attached import attach, built
from tests.support.docker_calls import Calls, archive
from tests.support.observe import builds, until

pytestmark = pytest.mark.usefixtures("peitho_log", "begun")


async def test_every_dollar_of_command_and_environment_survives(
    calls: Calls, peitho: Peitho
) -> None:
    """
    Kubernetes expands `$(X)` and halves `$$` in a Pod's spec; the command must not notice.
    """
    env = ["X=1", "A=$(X) $$ $X $$(X) $", "B=%{color}%{time}$"]
    script = "printf '%s|' '$(X)' '$$' \"$A\" \"$B\""
    answer = await calls.create(
        "", "hyperledger/fabric-ccenv:2.5", ["/bin/sh", "-c", script], env=env
    )
    build = str(answer.body["Id"])
    async with asyncio.TaskGroup() as tasks:
        output = tasks.create_task(attach(peitho, build, version="/v1.47"))
        await calls.start(build)

    assert b"$(X)|$$|$(X) $$ $X $$(X) $|%{color}%{time}$|" == output.result()
    await calls.remove(build)


@beside
async def test_a_build_past_its_deadline_is_ended(cluster: Cluster, tmp_path: Path) -> None:
    """
    The cluster ends it, and the output says why.
    """
    limits = {"deadlineSeconds": 8}
    async with (
        namespace(cluster) as name,
        Peitho.start(cluster, name, tmp_path, builder=limits) as peitho,
        Calls.to(peitho) as calls,
    ):
        build = await calls.create_build("sleep 100")
        code, output = await built(calls, build)

        assert 137 == code
        assert b"DeadlineExceeded" in output
        await calls.remove(build)
        await until(lambda: not builds(peitho))


@beside
async def test_a_build_whose_peer_hangs_up_is_removed(cluster: Cluster, tmp_path: Path) -> None:
    """
    Nobody waits any more, so nothing of it is left in the cluster.
    """
    async with (
        namespace(cluster) as name,
        Peitho.start(cluster, name, tmp_path, builder={"abandonedAfterSeconds": 2}) as peitho,
        Calls.to(peitho) as calls,
    ):
        build = await calls.create_build("sleep 100")
        await calls.start(build)
        assert builds(peitho)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await calls.wait(build)

        await until(lambda: not builds(peitho))
        assert 404 == (await calls.call("GET", f"/containers/{build}/json")).status


@beside
async def test_what_an_earlier_peitho_left_is_cleared_at_start(
    cluster: Cluster, tmp_path: Path
) -> None:
    """
    Killed in the middle of a build, it has dropped the build's Pod soon after it is back.
    """
    async with namespace(cluster) as name, Peitho.start(cluster, name, tmp_path) as peitho:
        async with Calls.to(peitho) as calls:
            await calls.start(await calls.create_build("sleep 100"))
        assert builds(peitho)

        await peitho.end(kill=True)
        await peitho.begin()

        await until(lambda: not builds(peitho))


async def test_a_removed_build_leaves_nothing(calls: Calls, peitho: Peitho) -> None:
    """
    No Pod, no Secret and no file of a build outlives its container.
    """
    build = await calls.create_build("sleep 100")
    await calls.put(build, archive({"a": (0o644, b"x" * 100_000)}))
    await calls.start(build)

    assert 204 == (await calls.remove(build)).status

    await until(lambda: not builds(peitho))
    assert not [path for path in (peitho.data_dir / "spool").iterdir() if path.is_file()]


async def test_an_upload_reaches_the_command_unchanged(calls: Calls, peitho: Peitho) -> None:
    """
    Forty mebibytes go to disk, to the Pod and to the command, chunk by chunk.
    """
    content = hashlib.shake_256(b"peitho").digest(40 * 1024 * 1024)
    packed = archive({"blob": (0o644, content)})

    async def chunks() -> AsyncIterator[bytes]:
        for begin in range(0, len(packed), 1 << 20):
            yield packed[begin : begin + (1 << 20)]

    build = await calls.create_build("sha256sum < /chaincode/input/blob")
    assert 200 == (await calls.put(build, chunks())).status
    async with asyncio.TaskGroup() as tasks:
        output = tasks.create_task(attach(peitho, build, version="/v1.47"))
        await calls.start(build)

    assert hashlib.sha256(content).hexdigest().encode() in output.result()
    await calls.remove(build)


@pytest.fixture(autouse=True)
async def _nothing_left(peitho: Peitho) -> AsyncIterator[None]:
    yield
    await until(lambda: not builds(peitho))
