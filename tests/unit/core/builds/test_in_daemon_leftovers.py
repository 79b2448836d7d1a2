"""What builds in a daemon leave behind, and when it goes."""

import asyncio
from pathlib import Path

from aiohttp import web

from peitho.core.builds.build import Build
from peitho.core.builds.in_daemon import DaemonBackend, DaemonBackendOptions
from peitho.core.builds.output import BuildOutput
from peitho.core.images.base import DaemonImages, DaemonImagesOptions
from peitho.core.images.store import BuildResults
from peitho.formats.docker.daemon import DaemonBuildLimits, DaemonBuildOwner
from peitho.formats.kubernetes import record_secrets
from peitho.settings.live import Live
from tests.support.accounts import account
from tests.support.build_daemon import LABELS, SPEC, scene
from tests.support.docker_double import Container, Dockerd, breaks
from tests.support.former import former


async def test_what_an_earlier_run_left_is_cleared(tmp_path: Path) -> None:
    """
    Neither what belongs to another instance or namespace, nor what runs.
    """
    async with scene(tmp_path) as scenery:
        daemon = scenery.daemon
        daemon.may_end.clear()
        build = await scenery.build()
        await build.start()
        (running_one,) = daemon.containers
        for name, labels in {
            "old": LABELS | {"peitho/id": "0" * 64},
            "odd": LABELS,
            "earlier": former(LABELS) | {"peitho/id": "0" * 64},
            "other": LABELS | {"peitho/instance": "b", "peitho/id": "0" * 64},
            "elsewhere": LABELS | {"peitho/namespace": "b", "peitho/id": "0" * 64},
            "foreign": {"peitho/id": "0" * 64},
        }.items():
            daemon.containers[name] = Container({"Labels": labels})

        await scenery.peitho.services.builds.pool.clear_leftovers()

        assert {running_one, "other", "elsewhere", "foreign"} == set(daemon.containers)
        await build.remove()


async def test_a_container_that_could_not_be_removed_is_cleared_later(tmp_path: Path) -> None:
    """
    At a sweep, once the daemon is back.
    """
    async with scene(tmp_path) as scenery:
        build = await scenery.build()
        name = build.summary().name
        scenery.daemon.script("DELETE", name, breaks())
        await build.start()
        await build.wait()
        await build.remove()
        assert [name] == list(scenery.daemon.containers)

        async with asyncio.timeout(5):
            while scenery.daemon.containers:
                await scenery.peitho.services.builds.pool.clear_leftovers()


async def test_pods_of_a_run_before_the_daemon_are_cleared(tmp_path: Path) -> None:
    """
    The daemon was set in between.
    """
    async with scene(tmp_path) as scenery:
        left = record_secrets.build_secret(
            instance="peitho", owner="", container_id="0" * 64, spec=SPEC, token="", created=""
        )
        scenery.peitho.cluster.objects[f"secrets/{left['metadata']['name']}"] = left
        former = scenery.peitho.parts.former_builds
        assert former is not None

        await former.clear_leftovers(())

        assert {} == scenery.peitho.cluster.objects


async def test_a_daemon_that_does_not_remove_holds_nobody_up(tmp_path: Path) -> None:
    """
    Its container is left to the sweeper: the next build need not wait for it.
    """

    async def silent(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    provenance = BuildResults()
    options = DaemonBackendOptions(
        owner=DaemonBuildOwner("peitho", "ns", DaemonBuildLimits("bridge")),
        start_timeout_seconds=5,
        deadline_seconds=5,
        removal_seconds=0.1,
    )
    async with Dockerd.start(tmp_path) as daemon, daemon.client() as docker:
        daemon.script("DELETE", "", silent)
        images = DaemonImages(docker, account(), Live(DaemonImagesOptions(server="", rewrite={})))
        backend = DaemonBackend(docker, images, results=provenance, options=options)
        output = BuildOutput.create(tmp_path / "log", limit_bytes=10_000)
        run = Build("f" * 64, SPEC, directory=tmp_path, output=output, result_bytes=10_000)

        async with asyncio.timeout(3):
            await backend.carry_out(run)

        assert run.state is not None
        assert 0 == run.state.exit_code
        assert 1 == len(daemon.containers)
        output.close()
