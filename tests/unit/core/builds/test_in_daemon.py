"""Builds against a double of a daemon: faults, and what is left behind."""

import asyncio
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from peitho.core.builds.container import BuildContainer
from peitho.core.container import OutputOptions
from peitho.errors import Conflict, NotFound, PeithoError, StartFailed, Unavailable
from peitho.formats.records import ContainerSpec
from tests.support.build_daemon import LABELS, SOURCE, SPEC, Scene, scene
from tests.support.contexts import chunks
from tests.support.docker_double import Container, Dockerd, always, breaks, refusal
from tests.support.in_process import running

OUTPUT = "/chaincode/output/."


async def said(build: BuildContainer) -> bytes:
    """All that a build has said, on both streams."""
    return b"".join([data async for _, data in build.output(OutputOptions(follow=True))])


def spooled(path: Path) -> list[Path]:
    """The files of builds in the data directory."""
    return list((path / "data/spool").iterdir())


async def until(condition: Any) -> None:
    """Return once a condition holds."""
    async with asyncio.timeout(5):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


async def test_a_build_runs_in_the_daemon(tmp_path: Path) -> None:
    """
    With its uploads; output, code and result come back, and the container is gone.
    """
    async with scene(tmp_path) as scenery:
        daemon, services = scenery.daemon, scenery.peitho.services
        daemon.exit_code, daemon.state = 3, {"OOMKilled": True}
        daemon.may_end.clear()
        build = await scenery.build()
        assert {} == daemon.containers
        assert "created" == build.summary().state.status

        assert await build.start()
        assert not await build.start()
        assert "running" == build.summary().state.status
        (container,) = daemon.containers.values()
        assert [("/chaincode/input", SOURCE)] == container.uploads
        assert ["go", "build"] == container.body["Cmd"]
        assert LABELS | {"peitho/id": build.id} == container.body["Labels"]
        with pytest.raises(Conflict):
            await build.put_archive("/chaincode/input", chunks(SOURCE))
        with pytest.raises(Conflict):
            await build.get_archive(OUTPUT)

        daemon.may_end.set()
        state = await build.wait()
        assert ("exited", 3, "OOMKilled") == (state.status, state.exit_code, state.reason)
        assert b"out\nerr\npeitho: the build ended with 3: OOMKilled\n" == await said(build)
        archive = await build.get_archive(OUTPUT)
        assert b"the result" == await asyncio.to_thread(archive.file.read_bytes)
        digest = hashlib.sha256(b"the result").hexdigest()
        assert "arm64" == services.images._results.find(digest)[0]  # noqa: SLF001
        with pytest.raises(NotFound, match="Could not find the file /etc"):
            await build.get_archive("/etc/.")
        await until(lambda: not daemon.containers)

        assert build is await services.containers.get(build.id[:12])
        await build.remove()
        with pytest.raises(NotFound):
            await services.containers.get(build.id)


async def test_equal_builds_are_one_container(tmp_path: Path) -> None:
    """
    While it runs, and afterwards from what was kept of it.
    """
    async with scene(tmp_path) as scenery:
        scenery.daemon.may_end.clear()
        first, second = await scenery.build(), await scenery.build()
        await first.start()
        await second.start()
        assert 1 == len(scenery.daemon.containers)
        scenery.daemon.may_end.set()
        assert 0 == (await second.wait()).exit_code
        await until(lambda: not scenery.daemon.containers)
        third = await scenery.build()
        await third.start()

        assert b"out\nerr\n" in await said(third)
        archive = await third.get_archive(OUTPUT)
        assert b"the result" == await asyncio.to_thread(archive.file.read_bytes)
        assert 1 == len(scenery.daemon.asked("POST", "/containers/create"))


async def test_a_container_is_of_the_image_that_was_found(tmp_path: Path) -> None:
    """
    By its ID; one that is gone by the start is told in Docker's words.
    """
    async with scene(tmp_path) as scenery:
        scenery.daemon.may_end.clear()
        build, other = await scenery.build(), await scenery.build(replace(SPEC, env=()))
        await build.start()
        assert ["sha256:cc"] == [each.body["Image"] for each in scenery.daemon.containers.values()]

        scenery.daemon.images.clear()
        with pytest.raises(StartFailed, match="cannot run: No such image: ccenv"):
            await other.start()
        await build.remove()


async def test_an_image_that_is_not_there_is_missing_at_create(tmp_path: Path) -> None:
    """
    So that a tool pulls it, as it does with a daemon.
    """
    async with scene(tmp_path) as scenery:
        with pytest.raises(NotFound, match="No such image: nodeenv:latest"):
            await scenery.build(ContainerSpec("nodeenv", ("npm",), (), ()))


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/create"), ("PUT", "/archive"), ("POST", "/attach"), ("POST", "/start")],
)
async def test_what_the_daemon_refuses_is_told_at_start(
    tmp_path: Path, method: str, path: str
) -> None:
    """
    In its words; whatever it had made is gone.
    """
    async with scene(tmp_path) as scenery:
        scenery.daemon.script(method, path, always(lambda: refusal(404, "exec: not found")))
        build = await scenery.build()
        with pytest.raises(StartFailed, match="cannot run: exec: not found"):
            await build.start()

        assert 125 == (await build.wait()).exit_code
        await until(lambda: not scenery.daemon.containers)
        with pytest.raises(StartFailed):
            await build.get_archive(OUTPUT)


async def test_a_daemon_that_is_away_is_told_as_away(tmp_path: Path) -> None:
    """
    At create, and at start.
    """
    async with scene(tmp_path) as scenery:
        build = await scenery.build()
        scenery.daemon.script("POST", "/create", breaks())
        with pytest.raises(Unavailable, match="The Docker daemon at unix://"):
            await build.start()
        scenery.daemon.script("GET", "/json", breaks())
        with pytest.raises(Unavailable, match="The Docker daemon at unix://"):
            await scenery.build()


async def test_a_daemon_that_dies_in_the_middle_ends_the_build(tmp_path: Path) -> None:
    """
    With a code that is no command's, and the cause in the output.
    """
    async with scene(tmp_path) as scenery:
        scenery.daemon.script("POST", "/wait", breaks())
        build = await scenery.build()
        await build.start()

        assert 125 == (await build.wait()).exit_code
        assert b"peitho: the build ended with 125: The Docker daemon at unix" in await said(build)


async def test_a_build_that_makes_nothing_has_no_result(tmp_path: Path) -> None:
    """
    It has ended well all the same: the newer peers' `go version` is such a one.
    """
    async with scene(tmp_path) as scenery:
        missing = "Could not find the file /chaincode/output/. in container x"
        scenery.daemon.script("GET", "/archive", always(lambda: refusal(404, missing)))
        build = await scenery.build()
        await build.start()

        assert 0 == (await build.wait()).exit_code
        with pytest.raises(NotFound, match=missing):
            await build.get_archive(OUTPUT)


async def test_a_build_past_its_deadline_is_ended(tmp_path: Path) -> None:
    """
    The output says why.
    """
    async with scene(tmp_path, deadlineSeconds=1) as scenery:
        scenery.daemon.may_end.clear()
        build = await scenery.build()
        await build.start()

        assert 137 == (await build.wait()).exit_code
        assert b"ended with 137: DeadlineExceeded" in await said(build)
        await until(lambda: not scenery.daemon.containers)


async def test_a_start_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    """
    A peer would not wait any longer.
    """

    async def slow(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async with scene(tmp_path, startTimeoutSeconds=0.2) as scenery:
        scenery.daemon.script("POST", "/start", slow)
        build = await scenery.build()
        with pytest.raises(StartFailed, match=r"did not run within 0\.2 s"):
            await build.start()

        await until(lambda: not scenery.daemon.containers)


async def test_a_build_is_stopped_or_removed_while_it_runs(tmp_path: Path) -> None:
    """
    Its container is gone when that returns.
    """
    async with scene(tmp_path) as scenery:
        scenery.daemon.may_end.clear()
        build = await scenery.build()
        assert not await build.stop()
        await build.start()
        assert await build.stop()
        assert {} == scenery.daemon.containers
        assert 137 == (await build.wait()).exit_code
        assert not await build.stop()
        await build.remove()

        other = await scenery.build()
        await other.start()
        await other.remove()
        assert {} == scenery.daemon.containers
        assert [] == scenery.peitho.services.containers._builds.list()  # noqa: SLF001


async def test_a_build_whose_peer_hangs_up_is_removed(tmp_path: Path) -> None:
    """
    Whether it hangs up while it waits, or while the container starts.
    """

    async def slow(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async with scene(tmp_path, abandonedAfterSeconds=0.05) as scenery:
        scenery.daemon.may_end.clear()
        build = await scenery.build()
        await build.start()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await build.wait()
        await until(lambda: not scenery.daemon.containers)

        scenery.daemon.script("POST", "/start", slow)
        other = await scenery.build()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await other.start()
        await until(lambda: not scenery.daemon.containers)


async def test_a_build_that_is_removed_while_it_is_made_leaves_nothing(tmp_path: Path) -> None:
    """
    The daemon goes on making it, whoever hangs up meanwhile.
    """
    asked, go = asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        asked.set()
        await go.wait()
        scenery.daemon.containers[request.query["name"]] = Container(await request.json())
        return web.json_response({}, status=201)

    async with scene(tmp_path) as scenery:
        scenery.daemon.script("POST", "/create", slow)
        build = await scenery.build()

        async def start() -> None:
            with pytest.raises(StartFailed, match="ended before its command ran"):
                await build.start()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(start())
            await asked.wait()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await build.remove()
            go.set()

        await until(lambda: not spooled(tmp_path))
        assert {} == scenery.daemon.containers
        assert 0 == len(scenery.daemon.asked("POST", "/start"))


async def test_a_result_that_is_too_large_is_told(tmp_path: Path) -> None:
    """
    And is not kept.
    """
    async with (
        Dockerd.start(tmp_path) as daemon,
        daemon.client() as docker,
        running(tmp_path, daemon=docker, limits={"archiveBytes": 10240}) as peitho,
    ):
        daemon.result = b"x" * 10241
        build = await Scene(peitho, daemon).build()
        await build.start()
        assert 0 == (await build.wait()).exit_code
        with pytest.raises(PeithoError, match="larger than 10240 bytes"):
            await build.get_archive(OUTPUT)
