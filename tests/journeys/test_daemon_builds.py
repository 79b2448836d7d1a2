"""What only builds in a real Docker daemon have: failures, limits, and what is left behind."""

import asyncio
import random
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import encode_basic_auth, web

from tests.journeys.peers import node_answers
from tests.lab.beside import beside
from tests.lab.cluster import Cluster
from tests.lab.daemon import Daemon
from tests.lab.peer import Peer
from tests.lab.peitho import Peitho, namespace
from tests.support.attached import attach, built
from tests.support.docker_calls import Calls, archive
from tests.support.observe import until

pytestmark = pytest.mark.usefixtures("peitho_log")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def peitho(
    cluster: Cluster, daemon: Daemon, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Peitho]:
    """A Peitho whose builds run in the daemon."""
    async with building(cluster, daemon, tmp_path_factory.mktemp("peitho")) as found:
        yield found


@asynccontextmanager
async def building(
    cluster: Cluster, daemon: Daemon, folder: Path, **settings: Any
) -> AsyncIterator[Peitho]:
    """A Peitho of one's own."""
    docker = {"docker": {"endpoint": daemon.endpoint}}
    async with (
        namespace(cluster) as name,
        Peitho.start(cluster, name, folder, **(docker | settings)) as found,
    ):
        yield found


async def test_what_a_caller_may_not_have_is_not_passed_on(calls: Calls) -> None:
    """
    What asks for the node is refused by name; of the rest, no privilege or network is passed on.
    """
    script = "grep -c ' /host ' /proc/mounts; grep CapBnd /proc/self/status; ls /dev/kmsg"
    body = {
        "Image": "hyperledger/fabric-ccenv:2.5",
        "Cmd": ["/bin/sh", "-c", f"{script}; cat /proc/net/dev; id -u"],
        "HostConfig": {"NetworkMode": "host", "CapDrop": ["CHOWN"]},
    }
    for name, value in (("Privileged", True), ("Binds", ["/:/host"]), ("CapAdd", ["ALL"])):
        host = {"HostConfig": {name: value}}
        refused = await calls.call("POST", "/containers/create", json=body | host)
        assert (403, True) == (refused.status, f"HostConfig.{name}" in refused.message)
    created = await calls.call("POST", "/containers/create", json=body)
    build = created.body["Id"]
    async with asyncio.TaskGroup() as tasks:
        output = tasks.create_task(attach(calls.peitho, build, version="/v1.47"))
        await calls.start(build)

    said = output.result().decode()
    assert said.startswith("0\nCapBnd:\t00000000000000cb\n"), said
    assert "cannot access '/dev/kmsg'" in said
    assert "eth0" not in said
    assert said.endswith("\n500\n"), said
    await calls.remove(build)


async def test_a_command_that_is_not_there_is_told_at_start(calls: Calls, daemon: Daemon) -> None:
    """
    In the daemon's words, and nothing is left of it.
    """
    answer = await calls.create("", "hyperledger/fabric-ccenv:2.5", ["no-such-command"])
    build = answer.body["Id"]

    started = await calls.start(build)

    assert 500 == started.status
    assert "no-such-command" in started.message
    await calls.remove(build)
    await until(lambda: not daemon.containers())


async def test_an_image_that_cannot_be_pulled_is_told_at_its_pull(calls: Calls) -> None:
    """
    With a status, as the registry or the network says it; one that is there is found.
    """
    missing = "127.0.0.1:1/hyperledger/fabric-nosuch:9.9"
    assert 404 == (await calls.call("GET", f"/images/{missing}/json")).status
    pulled = await calls.call("POST", "/images/create", params={"fromImage": missing})
    assert 500 == pulled.status
    assert "127.0.0.1:1" in pulled.message
    created = await calls.create("", missing, ["true"])
    assert (404, f"No such image: {missing}") == (created.status, created.message)

    found = await calls.call("GET", "/images/hyperledger/fabric-ccenv:2.5/json")
    assert (200, "amd64") == (found.status, found.body["Architecture"])


@beside
async def test_a_pull_shows_our_account_to_its_own_registry_alone(
    cluster: Cluster, daemon: Daemon, tmp_path: Path
) -> None:
    """
    The other one asks for it, too, and is shown none.
    """
    async with _registry() as (own, own_saw), _registry() as (other, other_saw):
        account = {"server-address": own, "username": "robot", "password": "pass-of-robot"}
        docker = {"endpoint": daemon.endpoint, "registry": account}
        async with (
            building(cluster, daemon, tmp_path, docker=docker) as peitho,
            Calls.to(peitho) as calls,
        ):
            for address in (own, other):
                query = {"fromImage": f"{address}/hyperledger/fabric-ccenv", "tag": "2.5"}
                assert 400 <= (await calls.call("POST", "/images/create", params=query)).status

        assert "pass-of-robot" not in peitho.log.read_text()
    assert {"", encode_basic_auth("robot", "pass-of-robot")} == own_saw
    assert {""} == other_saw


@asynccontextmanager
async def _registry() -> AsyncIterator[tuple[str, set[str]]]:
    """A registry's address, and the credentials that it was shown; it lets nobody in."""
    shown: set[str] = set()

    async def refuse(request: web.Request) -> web.Response:
        shown.add(request.headers.get("Authorization", ""))
        return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="test"'})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", refuse)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"127.0.0.1:{runner.addresses[0][1]}", shown
    finally:
        await runner.cleanup()


@beside
async def test_memory_is_limited_and_its_end_is_told(
    cluster: Cluster, daemon: Daemon, tmp_path: Path
) -> None:
    """
    By the operator's limit.
    """
    limit = {"resources": {"memoryLimit": "32Mi", "cpuLimit": "1500m"}}
    async with (
        building(cluster, daemon, tmp_path, builder=limit) as peitho,
        Calls.to(peitho) as calls,
    ):
        build = await calls.create_build("head -c 300M /dev/zero | tail -c 200M; exit $?")
        code, output = await built(calls, build)
        assert 137 == code
        assert output.endswith(b"peitho: the build ended with 137: OOMKilled\n")
        await calls.remove(build)


@beside
async def test_a_daemon_is_reached_over_tls(
    cluster: Cluster, daemon: Daemon, tmp_path: Path
) -> None:
    """
    Each side shows its certificate.
    """
    folder = daemon.pki
    assert folder is not None
    docker = {
        "endpoint": daemon.tls_endpoint,
        "ca-file": str(folder / "ca.crt"),
        "cert-file": str(folder / "admin.crt"),
        "key-file": str(folder / "admin.key"),
    }
    async with (
        building(cluster, daemon, tmp_path, docker=docker) as peitho,
        Calls.to(peitho) as calls,
    ):
        build = await calls.create_build("head -c 3000000 /chaincode/input/blob")
        content = random.Random(8).randbytes(3_000_000)  # noqa: S311  only incompressible
        await calls.put(build, archive({"blob": (0o644, content)}))
        code, output = await built(calls, build)

        assert 0 == code
        assert content == output
        await calls.remove(build)


async def test_a_build_whose_peer_hangs_up_is_removed(calls: Calls, daemon: Daemon) -> None:
    """
    Nobody waits any more, so nothing of it is left in the daemon.
    """
    build = await calls.create_build("sleep 100")
    await calls.start(build)
    assert 1 == len(daemon.containers())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await calls.wait(build)

    await until(lambda: not daemon.containers())
    assert 404 == (await calls.call("GET", f"/containers/{build}/json")).status


async def test_what_an_earlier_peitho_left_is_cleared_at_start(
    cluster: Cluster,
    daemon: Daemon,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """
    Its own builds, and none of another Peitho in the same daemon.
    """
    async with (
        building(cluster, daemon, tmp_path) as peitho,
        building(cluster, daemon, tmp_path_factory.mktemp("other")) as other,
        Calls.to(peitho) as calls,
        Calls.to(other) as others,
    ):
        await calls.start(await calls.create_build("sleep 100"))
        kept = await others.create_build("sleep 100")
        await others.start(kept)
        assert 2 == len(daemon.containers())

        await peitho.end(kill=True)
        await peitho.begin()

        await until(lambda: len(daemon.containers()) == 1)
        assert "running" == (await others.inspect(kept))["State"]["Status"]
        await others.remove(kept)


async def test_a_daemon_that_dies_ends_its_builds_and_comes_back(
    cluster: Cluster, daemon: Daemon, tmp_path: Path
) -> None:
    """
    The build fails with the cause, readiness says so; afterwards all is right, and swept.
    """
    sweeper = {"interval": 1}
    async with (
        building(cluster, daemon, tmp_path, sweeper=sweeper) as peitho,
        Calls.to(peitho) as calls,
    ):
        build = await calls.create_build("echo begun; sleep 100")
        await calls.start(build)
        async with asyncio.TaskGroup() as tasks:
            output = tasks.create_task(attach(peitho, build, version="/v1.47"))
            wait = tasks.create_task(calls.wait(build))
            await asyncio.sleep(0.5)
            await asyncio.to_thread(daemon.end, kill=True)
        try:
            assert 125 == wait.result()
            assert output.result().startswith(
                b"begun\npeitho: the build ended with 125: The Docker"
            )
            for answer in (
                await calls.call("GET", "/images/nosuch:1/json"),
                await calls.create("", "hyperledger/fabric-ccenv:2.5", ["true"]),
            ):
                assert 503 == answer.status
                assert f"The Docker daemon at {daemon.endpoint} cannot be reached" in answer.message
            assert (200, True) == await asyncio.to_thread(_ready, peitho, daemon)
            assert 200 == (await calls.call("GET", "/_ping")).status
            await calls.remove(build)
        finally:
            await asyncio.to_thread(daemon.begin)

        await until(lambda: not daemon.containers())
        assert (200, False) == await asyncio.to_thread(_ready, peitho, daemon)
        other = await calls.create_build("exit 4")
        await calls.start(other)
        assert 4 == await calls.wait(other)
        await calls.remove(other)


def _ready(peitho: Peitho, daemon: Daemon) -> tuple[int, bool]:
    """The status of readiness, and whether it tells that the daemon is away."""
    try:
        with urllib.request.urlopen(f"{peitho.operations}/readyz?verbose", timeout=5) as response:
            return response.status, daemon.endpoint in response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, daemon.endpoint in error.read().decode()


async def test_npm_builds_in_a_daemon(peitho: Peitho, cluster: Cluster, daemon: Daemon) -> None:
    """
    As root, with the capabilities that it needs and no others.
    """
    async with Peer.start("2.5.16", endpoint=peitho.url, host_address=cluster.host_address) as peer:
        await node_answers(peer)
    await until(lambda: not daemon.containers())
