"""A peer's journey through each pair: builds in Pods or a daemon, images delivered or pushed."""

import asyncio
import io
import json
import random
import re
import tarfile
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from peitho.formats.docker.streams import FrameReader
from tests.journeys.peers import does_not_compile, lives_and_comes_back
from tests.lab.cluster import Cluster
from tests.lab.daemon import Daemon
from tests.lab.pairs import DAEMON, DELIVERY, PAIRS, PODS, REGISTRY, Pair
from tests.lab.peer import Package, Peer
from tests.lab.peitho import Peitho, namespace
from tests.lab.registry import Running
from tests.support.attached import attach
from tests.support.docker_calls import Calls, archive
from tests.support.observe import alive, builds, pods, until

# Whose chaincode lives, and whose does not compile: old and new libraries meet both builders, and
# both modes.
RELEASES = {
    Pair(PODS, DELIVERY): ("2.5.16", "3.1.5"),
    Pair(PODS, REGISTRY): ("3.1.5", "2.2.15"),
    Pair(DAEMON, DELIVERY): ("2.5.16", "1.4.12"),
    Pair(DAEMON, REGISTRY): ("2.2.15", "2.5.16"),
}
AGAIN_SECONDS = 5.0
MIRROR = "mirror"
PUSHED = r"127\.0\.0\.1:\d+/chaincode/.+@sha256:[0-9a-f]{64}"

pytestmark = pytest.mark.usefixtures("peitho_log")
# For what is the builder's business alone.
each_builder = pytest.mark.parametrize(
    "pair", [each for each in PAIRS if each.mode == DELIVERY], ids=str, indirect=True
)


@pytest.fixture(scope="module", params=PAIRS, ids=str)
def pair(request: pytest.FixtureRequest) -> Pair:
    """One of the four."""
    found: Pair = request.param
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def peitho(
    pair: Pair,
    cluster: Cluster,
    daemon: Daemon,
    registry: Running,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Peitho]:
    """A Peitho of the pair, which leaves no build anywhere."""
    folder = tmp_path_factory.mktemp("peitho")
    settings = pair.settings(registry, endpoint=daemon.endpoint)
    settings["chaincode"] = {"settleSeconds": 0}
    async with (
        namespace(cluster) as name,
        Peitho.start(cluster, name, folder, **settings) as running,
    ):
        if pair.mode == REGISTRY:
            await asyncio.to_thread(have_a_secret_of_the_account, running)
        yield running
        await until(lambda: not builds(running) + daemon.containers())


def have_a_secret_of_the_account(peitho: Peitho) -> None:
    """Have Pods' ServiceAccount name a pull Secret of another registry."""
    kubectl = ("-n", peitho.namespace)
    account = ("--docker-server=mirror.invalid", "--docker-username=x", "--docker-password=x")
    peitho.cluster.run_kubectl(*kubectl, "create", "secret", "docker-registry", MIRROR, *account)
    patch = json.dumps({"imagePullSecrets": [{"name": MIRROR}]})
    peitho.cluster.run_kubectl(*kubectl, "patch", "serviceaccount", "default", "-p", patch)


@pytest.fixture(scope="module")
def layers() -> set[str]:
    """The layers of the one package that is built in each pair."""
    return set()


def peer_of(peitho: Peitho, version: str, name: str) -> AbstractAsyncContextManager[Peer]:
    """A peer of a release."""
    host = peitho.cluster.host_address
    return Peer.start(version, endpoint=peitho.url, host_address=host, peer_id=name)


async def test_chaincode_is_built_and_lives_and_outlasts_a_restart(
    pair: Pair, peitho: Peitho, calls: Calls, tmp_path: Path, layers: set[str]
) -> None:
    """
    A second peer shares the build and the image; after a restart the image is still known.

    Whichever builder, peer and mode: the layer is the same.
    """
    release, label = RELEASES[pair][0], f"{pair.builder}-{pair.mode}_1"
    async with (
        peer_of(peitho, release, "one") as one,
        peer_of(peitho, release, "two") as two,
    ):
        package = await one.install("go", label=label)
        await lives_and_comes_back(one, package, peitho)
        runs_as_its_mode_says(pair, peitho, package)
        image = await identity(calls, package)
        layers.update(await layers_of(calls, package))
        assert 1 == len(layers)

        built = count(peitho, "build ended")
        assert built
        again = await two.install("go", label=label)
        assert AGAIN_SECONDS > sum(each.seconds for each in two.steps())
        assert built == count(peitho, "build ended")
        assert package.image != again.image
        assert image == await identity(calls, again)

        compiles = len(one.steps("build"))
        await peitho.end()
        if pair.mode == REGISTRY:
            peitho.data_dir.rename(tmp_path / "lost")
        await peitho.begin()
        await one.restart()
        assert image == await identity(calls, package)
        await one.launch(package)
        assert "blue" == (await one.invoke(package, "get", "asset")).payload
        assert compiles == len(one.steps("build"))

        await one.stop(package)
        assert [] == alive(peitho, package.container)


def count(peitho: Peitho, event: str) -> int:
    """How often something has happened, by Peitho's log."""
    return peitho.log.read_text().count(event)


async def identity(calls: Calls, package: Package) -> tuple[str, Any]:
    """What is the same for equal images: the ID, and the digest in a registry."""
    answer = await calls.call("GET", f"/images/{package.image}/json")
    assert 200 == answer.status, answer
    digests = [each.partition("@")[2] for each in answer.body["RepoDigests"]]
    return answer.body["Id"], digests


async def layers_of(calls: Calls, package: Package) -> list[str]:
    """What Peitho has put on the runtime image."""
    answer = await calls.call("GET", f"/images/{package.image}/json")
    found: list[str] = answer.body["RootFS"]["Layers"]
    return found


def runs_as_its_mode_says(pair: Pair, peitho: Peitho, package: Package) -> None:
    """Pulled by digest with a Secret of Peitho's beside the account's, or runtime and layer."""
    (name,) = alive(peitho, package.container)
    found = {pod["metadata"]["name"]: pod["spec"] for pod in pods(peitho, package.container)}
    spec = found[name]
    (main,) = spec["containers"]
    blobs = list((peitho.data_dir / "blobs/sha256").iterdir())
    if pair.mode == REGISTRY:
        assert re.fullmatch(PUSHED, main["image"])
        assert "initContainers" not in spec
        assert [{"name": "peitho-registry"}, {"name": MIRROR}] == spec["imagePullSecrets"]
        assert [] == blobs
    else:
        assert main["image"].startswith("hyperledger/fabric-baseos:")
        assert ["puller"] == [each["name"] for each in spec["initContainers"]]
        assert 1 == len(blobs)


async def test_a_compile_error_reaches_the_operator(pair: Pair, peitho: Peitho) -> None:
    """
    The compiler's words, and its exit code, are in the peer's own error.
    """
    async with peer_of(peitho, RELEASES[pair][1], "broken") as peer:
        await does_not_compile(peer)


async def test_an_image_that_is_gone_is_told(calls: Calls) -> None:
    """
    As missing: the peer builds it anew.
    """
    await calls.make_image("gone", "exec sleep 60")
    assert 200 == (await calls.call("DELETE", "/images/gone")).status

    answer = await calls.create("gone", "gone")

    assert (404, "No such image: gone:latest") == (answer.status, answer.message)


@each_builder
async def test_output_comes_byte_for_byte_and_streams_stay_apart(
    pair: Pair, calls: Calls, peitho: Peitho
) -> None:
    """
    Mebibytes that are no text, on stdout, and words on stderr, arrive as they were written.
    """
    content = random.Random(7).randbytes(4 << 20)  # noqa: S311  only incompressible
    build = await calls.create_build("cat /chaincode/input/blob; echo done >&2")
    await calls.put(build, archive({"blob": (0o644, content)}))
    async with asyncio.TaskGroup() as tasks:
        framed = tasks.create_task(attach(peitho, build))
        raw = tasks.create_task(attach(peitho, build, version="/v1.47"))
        assert 204 == (await calls.start(build)).status
        assert pair.builder == PODS or not builds(peitho)
        assert 0 == await calls.wait(build)

    messages = list(FrameReader().feed(framed.result()))
    assert content == b"".join(data for stream, data in messages if stream == 1)
    assert b"done\n" == b"".join(data for stream, data in messages if stream == 2)
    assert 127 >= max(len(data) for _, data in messages)
    assert len(content) + len(b"done\n") == len(raw.result())
    await calls.remove(build)


@each_builder
async def test_output_is_live(calls: Calls, peitho: Peitho) -> None:
    """
    A line is there while the command still runs.
    """
    build = await calls.create_build("echo first; until [ -e /tmp/go ]; do sleep 0.1; done")
    await calls.start(build)
    reader, writer = await asyncio.open_connection("127.0.0.1", peitho.port)
    path = f"/containers/{build}/attach?logs=1&stderr=1&stdout=1&stream=1"
    request = f"POST {path} HTTP/1.1\r\nHost:\r\n\r\n"
    writer.write(request.encode())

    assert b"first\n" in await reader.readuntil(b"first\n")

    assert "running" == (await calls.inspect(build))["State"]["Status"]
    writer.close()
    await calls.remove(build)


@each_builder
async def test_the_exit_code_is_the_commands_own(calls: Calls) -> None:
    """
    Whatever the command ends with, `wait` answers, and `docker inspect` shows.
    """

    async def codes(script: str) -> tuple[int, int]:
        build = await calls.create_build(f"sh -c '{script}'; exit $?")
        await calls.start(build)
        waited = await calls.wait(build)
        shown = (await calls.inspect(build))["State"]["ExitCode"]
        await calls.remove(build)
        return waited, shown

    async with asyncio.TaskGroup() as tasks:
        ends = {
            code: tasks.create_task(codes(script))
            for code, script in {3: "exit 3", 137: "kill -9 $$", 255: "exit 255"}.items()
        }

    assert {code: (code, code) for code in ends} == {code: e.result() for code, e in ends.items()}


@each_builder
async def test_the_result_is_a_tar_of_the_output_directory(calls: Calls) -> None:
    """
    What the command made comes back with its modes, and its stat in a header.
    """
    script = "cd /chaincode/output; cp ../input/src/a b; chmod 755 b; mkdir d; ln -s ../b d/l"
    build = await calls.create_build(script)
    await calls.put(build, archive({"src/a": (0o644, b"content")}))
    await calls.start(build)
    assert 0 == await calls.wait(build)

    url = f"{calls.peitho.http}/containers/{build}/archive?path=/chaincode/output/."
    content = await asyncio.to_thread(_download, url)

    with tarfile.open(fileobj=io.BytesIO(content)) as result:
        modes = {each.name: (each.mode & 0o777, each.linkname) for each in result}
        file = result.extractfile("./b")
        assert file is not None
        assert b"content" == file.read()
    assert {".", "./b", "./d", "./d/l"} == set(modes)
    assert (0o755, "") == modes["./b"]
    assert "../b" == modes["./d/l"][1]
    await calls.remove(build)


def _download(url: str) -> bytes:
    with urllib.request.urlopen(url) as response:
        assert response.headers["X-Docker-Container-Path-Stat"]
        return bytes(response.read())
