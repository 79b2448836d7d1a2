"""The cluster away, the disk full, Peitho stopped: what peers are told, and what is kept."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.journeys.wire import wired
from tests.lab.beside import beside
from tests.lab.cluster import Cluster
from tests.lab.peitho import Peitho, namespace
from tests.support.docker_calls import Calls, archive, context
from tests.support.observe import alive, open_waits, until


@beside
async def test_while_the_cluster_is_away_peers_are_told_so(
    cluster: Cluster, tmp_path: Path
) -> None:
    """
    Calls that need it get 503 with the cause, `_ping` its answer; all is right after its return.
    """
    async with wired(cluster, tmp_path) as (peitho, wire), Calls.to(peitho) as calls:
        await calls.make_image("image-away")
        await calls.create("away", "image-away")
        await calls.start("away")
        async with asyncio.TaskGroup() as tasks:
            wait = tasks.create_task(calls.wait("away"))
            await until(lambda: _waits(peitho, 1))
            wire.cut()

            for path in ("/containers/json", "/containers/away/json"):
                answer = await calls.call("GET", path)
                assert 503 == answer.status
                assert "The Kubernetes API cannot be reached" in answer.message
            refused = await calls.create("other", "image-away")
            assert 503 == refused.status
            assert 200 == (await calls.call("GET", "/_ping")).status
            assert 200 == (await calls.call("GET", "/images/image-away/json")).status

            (pod,) = alive(peitho, "away")
            await asyncio.to_thread(peitho.kubectl, "delete", "pod", pod)
            await wire.connect()
        assert wait.result() in (137, 143)
        assert 204 == (await calls.launch("away", "image-away")).status
        await calls.remove("away")


async def _waits(peitho: Peitho, count: int) -> bool:
    return count == await open_waits(peitho)


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of sixteen mebibytes in a folder."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root may mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@beside
async def test_a_full_disk_is_told_and_what_is_stored_stays_intact(
    cluster: Cluster, tmp_path: Path
) -> None:
    """
    Uploads and images past its room get a 500 that says so; images stored before still start.
    """
    with small_disk(tmp_path) as disk:
        await _fills(cluster, disk)


async def _fills(cluster: Cluster, disk: Path) -> None:
    async with (
        namespace(cluster) as name,
        Peitho.start(cluster, name, disk) as peitho,
        Calls.to(peitho) as calls,
    ):
        await calls.make_image("image-kept")
        large = await asyncio.to_thread(_large)
        build = await calls.create_build("true")

        uploaded = await calls.put(build, large)
        built = await calls.build("image-large", await asyncio.to_thread(context, large))

        for answer in (uploaded, built):
            assert 500 == answer.status
            assert "The data directory is full" in answer.message
        assert 404 == (await calls.call("GET", "/images/image-large/json")).status
        assert 204 == (await calls.launch("kept", "image-kept")).status
        await calls.remove("kept")
        small = context(archive({"chaincode": (0o755, b"#!/bin/sh\n")}))
        assert 200 == (await calls.build("image-small", small)).status


def _large() -> bytes:
    """What no compression makes smaller: random bytes."""
    return archive({"chaincode": (0o755, os.urandom(24 << 20))})


@beside
async def test_a_stop_of_peitho_leaves_chaincode_alone(cluster: Cluster, tmp_path: Path) -> None:
    """
    Killed or stopped, it finds created and running containers, and images, as they were.
    """
    at_once = {"settleSeconds": 0}
    async with (
        namespace(cluster) as name,
        Peitho.start(cluster, name, tmp_path, chaincode=at_once) as peitho,
    ):
        async with Calls.to(peitho) as calls:
            await calls.make_image("image-stays")
            await calls.create("waits", "image-stays")
            await calls.put("waits", archive({"/etc/f": (0o644, b"x")}), path="/")
            await calls.create("runs", "image-stays")
            await calls.start("runs")

        await peitho.end(kill=True)
        await peitho.begin()
        await peitho.end()
        await peitho.begin()

        async with Calls.to(peitho) as calls:
            assert 304 == (await calls.start("runs")).status
            assert 1 == len(alive(peitho, "runs"))
            assert 204 == (await calls.start("waits")).status
            await calls.remove("waits")
            await calls.remove("runs")
            await until(lambda: not alive(peitho, "runs"))
