import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from peitho.clients.disk.build_cache import BuildCache
from peitho.core.builds import downloaded
from peitho.core.builds.build import Build
from peitho.core.builds.container import BuildContainer
from peitho.core.builds.downloaded import packages_key
from peitho.core.builds.pool import BuildPool, BuildPoolOptions
from peitho.errors import Conflict, InvalidArgument
from peitho.settings.models import BuilderSettings
from tests.support.archives import archive_bytes, file
from tests.support.build_pool import SPEC, Scene, outcome, result, scene
from tests.support.contexts import chunks, package
from tests.support.tenants import served, settings_of

ON = {"packages": True, "compiler": False}
FIRST = archive_bytes([file(".m2/repository/a/1.jar", b"one")])
MORE = archive_bytes([file(".m2/repository/a/1.jar", b"one"), file(".m2/repository/b.jar", b"two")])


async def begun(it: Scene, source: bytes) -> tuple[BuildContainer, bytes | None]:
    """A build that runs, and what its helper is given."""
    build = await it.started(source)
    await it.cluster.until_asked("POST", "pods", times=len(it.made))
    archive = await it.runs.packages(run(it, build))
    return build, archive.read_bytes() if archive else None


def run(it: Scene, build: BuildContainer) -> Build:
    """What carries a build out."""
    return it.runs.get(build.id)


async def ends(it: Scene, build: BuildContainer, *, left: bytes | None = None) -> None:
    """Tell what a helper tells, to the good end."""
    carried = run(it, build)
    carried.mark_started()
    carried.set_exit_code(0)
    await build.wait()
    await it.runs.save_result(carried, chunks(package()), "amd64")
    if left is not None:
        await it.runs.save_packages(carried, chunks(left))
    assert package() == await result(build)
    await carried.over.wait()


async def test_what_a_build_downloaded_is_given_to_those_that_follow(tmp_path: Path) -> None:
    """
    The last to have more leaves it; one that has no more leaves what is there.
    """
    async with scene(tmp_path, cache=ON) as it:
        first, given = await begun(it, b"first")
        assert None is given
        await ends(it, first, left=FIRST)
        second, given = await begun(it, b"second")
        assert FIRST == given
        await ends(it, second, left=MORE)
        third, given = await begun(it, b"third")
        assert MORE == given
        await ends(it, third)
        assert BuildCache(tmp_path / "data/builds").has(packages_key("ccenv", [[], {}]))
    assert [] == list((tmp_path / "data/spool").iterdir())


def test_other_images_have_their_own() -> None:
    """
    As other settings have, and no build of a peer has that key.
    """
    keys = {packages_key("a", None), packages_key("b", None), packages_key("a", ["x"])}
    assert 3 == len(keys)


@pytest.mark.parametrize("how", ["fails", "is stopped", "is not done"])
async def test_a_build_that_is_not_done_leaves_nothing(tmp_path: Path, how: str) -> None:
    """
    However it ends, and whatever its helper is made to send.
    """
    async with scene(tmp_path, cache=ON) as it:
        build, _ = await begun(it, b"first")
        carried = run(it, build)
        carried.mark_started()
        if how == "fails":
            carried.set_exit_code(1)
            await build.wait()
        with pytest.raises(Conflict, match="is not kept"):
            await it.runs.save_packages(carried, chunks(FIRST))
        if how != "fails":
            await build.stop()
        await build.remove()

        second, given = await begun(it, b"second")
        assert None is given
        await ends(it, second)


async def test_what_is_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    And what was there stays.
    """
    async with scene(tmp_path, cache=ON) as it:
        first, _ = await begun(it, b"first")
        await ends(it, first, left=FIRST)
        monkeypatch.setattr(downloaded, "_LIMIT_BYTES", len(FIRST))
        second, _ = await begun(it, b"second")
        with pytest.raises(InvalidArgument, match="larger than"):
            await ends(it, second, left=MORE + MORE)
        await run(it, second).over.wait()
        third, given = await begun(it, b"third")
        assert FIRST == given
        await ends(it, third)


async def test_a_damaged_one_is_given_to_nobody(tmp_path: Path) -> None:
    """
    It is set aside, and the next is given nothing.
    """
    async with scene(tmp_path, cache=ON) as it:
        first, _ = await begun(it, b"first")
        key = run(it, first).packages_key
        await ends(it, first, left=FIRST)
        (tmp_path / "data/builds" / key / "result").write_bytes(b"other")

        second, given = await begun(it, b"second")
        assert None is given
        await ends(it, second, left=MORE)
        assert BuildCache(tmp_path / "data/builds").has(key)


@pytest.mark.parametrize("cache", [{}, {"packages": "off"}, {"packages": True, "enable": False}])
async def test_it_has_to_be_switched_on(tmp_path: Path, cache: dict[str, object]) -> None:
    """
    Nothing is given, and what comes is refused.
    """
    async with scene(tmp_path, cache={"compiler": False} | cache) as it:
        first, given = await begun(it, b"first")
        assert ("", None) == (run(it, first).packages_key, given)
        with pytest.raises(Conflict, match="not kept"):
            await ends(it, first, left=FIRST)
        await run(it, first).over.wait()


async def test_a_change_of_the_setting_is_followed(tmp_path: Path) -> None:
    """
    By the builds that come.
    """
    async with scene(tmp_path, cache=ON) as it:
        first, _ = await begun(it, b"first")
        await ends(it, first, left=FIRST)
        it.follow(builder=BuilderSettings.model_validate({"cache": {"compiler": False}}))
        second, given = await begun(it, b"second")
        assert None is given
        await ends(it, second)
        it.follow(builder=BuilderSettings.model_validate({"cache": ON}))
        third, given = await begun(it, b"third")
        assert FIRST == given
        await ends(it, third)


async def test_no_build_of_another_tenant_is_given_what_one_left(
    tmp_path: Path, certificates: Path
) -> None:
    """
    Each has its own, for the same image and by the same settings.
    """
    folder = certificates / "ours"
    settings = settings_of(folder, tmp_path, builder={"cache": ON})
    async with served(tmp_path, folder, settings) as peitho:

        async def started(tenant: str, source: bytes) -> tuple[BuildPool, Build]:
            builds = peitho.services(tenant).builds
            build = builds.create(SPEC, peer="a")
            await build.put_archive(
                "/chaincode/input", chunks(archive_bytes([file("pom.xml", source)]))
            )
            builds.tasks.spawn(outcome(build.start()), name="start")
            await asyncio.sleep(1)
            return builds.pool, builds.pool.get(build.id)

        pool, left = await started("acme", b"first")
        assert None is await pool.packages(left)
        left.mark_started()
        left.set_exit_code(0)
        await pool.save_result(left, chunks(package()), "amd64")
        await pool.save_packages(left, chunks(FIRST))
        await left.over.wait()

        pool, others = await started("other", b"second")
        assert left.packages_key == others.packages_key
        assert None is await pool.packages(others)
        pool, own = await started("acme", b"second")
        archive = await pool.packages(own)
        assert FIRST == (archive.read_bytes() if archive else None)


def test_a_result_with_packages_of_others_is_for_those_who_have_them() -> None:
    """
    Once the setting is off again, such a build is carried out anew.
    """
    off = BuildPoolOptions(output_bytes=1, result_bytes=1, determinants=["x"])

    assert ["x"] == off.decided
    assert off.decided != replace(off, keeps_packages=True).decided
