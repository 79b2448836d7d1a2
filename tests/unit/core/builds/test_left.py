"""Build containers that their peers have left behind: they are few, small, and go."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from peitho.errors import InvalidArgument, Unavailable
from tests.support.archives import archive_bytes, file
from tests.support.build_pool import SPEC, Scene, scene
from tests.support.contexts import chunks

MIB = 1024 * 1024
HALF_HOUR_SECONDS = 1800


def listed(it: Scene) -> list[str]:
    """The IDs of those that are there, as `docker ps -a` has them."""
    return [summary.id for summary in it.builds.list()]


async def slowly(archive: bytes) -> AsyncIterator[bytes]:
    """An archive that takes a quarter of an hour."""
    yield archive[:100]
    await asyncio.sleep(900)
    yield archive[100:]


async def zeros(size: int) -> AsyncIterator[bytes]:
    """A body of so many MiB, which is no archive."""
    for _ in range(size):
        yield b"0" * MIB


def directories(tmp_path: Path) -> int:
    """How many directories builds have on the disk."""
    return len(list((tmp_path / "data/spool").iterdir()))


@pytest.mark.parametrize("source", [None, b"package main"], ids=["created", "uploaded"])
async def test_what_was_never_started_goes(tmp_path: Path, source: bytes | None) -> None:
    """
    After ten minutes without a call, with its files.
    """
    async with scene(tmp_path, follows=False) as it:
        build = await it.create(source)
        await asyncio.sleep(500)
        assert [build.id] == listed(it)
        await asyncio.sleep(200)

        assert [] == listed(it)
        assert 0 == directories(tmp_path)


async def test_what_has_ended_goes(tmp_path: Path) -> None:
    """
    After half an hour without a call; until then its output and its log can be fetched.
    """
    async with scene(tmp_path, follows=False) as it:
        build = await it.done()
        await build.wait()
        await asyncio.sleep(HALF_HOUR_SECONDS - 100)
        await build.get_archive("/chaincode/output/.")
        await asyncio.sleep(HALF_HOUR_SECONDS - 100)
        assert [build.id] == listed(it)
        await asyncio.sleep(200)

        assert [] == listed(it)
        assert 0 == directories(tmp_path)


async def test_what_runs_stays(tmp_path: Path) -> None:
    """
    Whether or not anybody waits for it: `docker run -d` does not.
    """
    async with scene(tmp_path, follows=False, start_timeout_seconds=9999) as it:
        build = await it.started()
        await asyncio.sleep(HALF_HOUR_SECONDS)

        assert [build.id] == listed(it)


async def test_an_upload_that_takes_long_keeps_its_container(tmp_path: Path) -> None:
    """
    A slow network is no peer that went away.
    """
    async with scene(tmp_path, follows=False) as it:
        build = it.builds.create(SPEC)
        it.made.append(build)
        archive = archive_bytes([file("main.go", b"package main")])
        await build.put_archive("/a", slowly(archive))
        assert [build.id] == listed(it)


async def test_the_one_left_for_longest_goes_for_a_new_one(tmp_path: Path) -> None:
    """
    250 at one address are more than any peers have; another address keeps its own.
    """
    async with scene(tmp_path, follows=False) as it:
        other = it.builds.create(SPEC, peer="other")
        builds = [it.builds.create(SPEC, peer="a") for _ in range(250)]
        it.made += [other, *builds]
        await asyncio.sleep(60)
        new = it.builds.create(SPEC, peer="a")
        it.made.append(new)

        assert {other.id, new.id, *(build.id for build in builds[1:])} == set(listed(it))


async def test_what_its_peer_is_about_to_use_stays(tmp_path: Path) -> None:
    """
    The one too many is told instead; later there is room.
    """
    async with scene(tmp_path, follows=False) as it:
        it.made += [it.builds.create(SPEC, peer="a") for _ in range(250)]
        with pytest.raises(Unavailable, match="the peers at a have 250 builds"):
            it.builds.create(SPEC, peer="a")

        assert 250 == len(listed(it))


async def test_the_uploads_of_an_address_are_bounded_together(tmp_path: Path) -> None:
    """
    Removal gives the room back, and so does an upload that failed.
    """
    async with scene(tmp_path, follows=False) as it:
        it.builds.count_bytes("a", 8 * 1024**3 - 2 * MIB)
        own, other = it.builds.create(SPEC, peer="a"), it.builds.create(SPEC, peer="b")
        it.made += [own, other]
        with pytest.raises(Unavailable, match="the peers at a have more than 8589934592 bytes"):
            await own.put_archive("/a", zeros(3))
        with pytest.raises(InvalidArgument):
            await other.put_archive("/a", zeros(3))
        with pytest.raises(InvalidArgument):
            await own.put_archive("/a", zeros(1))


async def test_a_build_takes_a_hundred_archives(tmp_path: Path) -> None:
    """
    A peer sends one.
    """
    archive = archive_bytes([file("main.go", b"package main")])
    async with scene(tmp_path, follows=False) as it:
        build = await it.create()
        for _ in range(99):
            await build.put_archive("/a", chunks(archive))
        with pytest.raises(InvalidArgument, match="a build takes 100 archives at most"):
            await build.put_archive("/a", chunks(archive))
