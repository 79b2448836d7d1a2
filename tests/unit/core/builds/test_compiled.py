import asyncio
from pathlib import Path

import pytest
import structlog.testing

from peitho.clients.disk.build_cache import BuildCache
from peitho.core.builds import compiled
from peitho.core.builds.build import Build, BuildUpload
from peitho.core.builds.compiled import CompiledPackages
from peitho.core.builds.container import BuildContainer
from peitho.core.builds.output import BuildOutput
from peitho.formats.docker import go_packages
from peitho.formats.kubernetes import labels
from peitho.settings.models import BuilderSettings
from tests.support.archives import archive_bytes, file
from tests.support.build_pool import SPEC, Scene, outcome, result, scene
from tests.support.contexts import chunks, package
from tests.support.kubernetes_double import always, refusal

KEY = "c" * 64
CACHE = archive_bytes([file("00/00-d", b"compiled")])
MORE = archive_bytes([file("00/00-d", b"compiled"), file("01/01-d", b"more")])


async def begun(
    it: Scene, main: bytes, *, vendored: bytes = b"v1", path: str = "/chaincode/input"
) -> BuildContainer:
    """A build that is started, of an image that has nothing compiled: its helper has asked."""
    build = it.builds.create(SPEC, peer="a")
    it.made.append(build)
    files = [file("src/main.go", main), file("src/vendor/dep/dep.go", vendored)]
    await build.put_archive(path, chunks(archive_bytes(files, compression="gz")))
    await it.begin(build)
    return build


async def given(it: Scene, build: BuildContainer) -> bytes | None:
    """What its helper is given."""
    archive = await it.runs.compiled(it.runs.get(build.id))
    return archive.read_bytes() if archive else None


async def done(
    it: Scene, main: bytes, *, vendored: bytes = b"v1", path: str = "/chaincode/input"
) -> bytes | None:
    """A build from its start to its good end; what it was given."""
    build = await begun(it, main, vendored=vendored, path=path)
    was_given = await given(it, build)
    await it.finish(build)
    return was_given


async def ahead(it: Scene, *, pods: int) -> Build:
    """The build of Peitho's own, whose Pod is one of so many."""
    await it.cluster.until_asked("POST", "pods", times=pods)
    ids = {
        each["metadata"]["annotations"][labels.ID]
        for path, each in it.cluster.objects.items()
        if path.startswith("pods/")
    }
    (found,) = ids - {build.id for build in it.made}
    return it.runs.get(found)


async def end(it: Scene, build: Build, *, code: int = 0, cache: bytes = CACHE) -> None:
    """Tell what the helper of a build of Peitho's own tells."""
    build.mark_started()
    build.set_exit_code(code)
    if code == 0:
        await it.runs.save_result(build, chunks(cache), "amd64")
    await build.over.wait()


async def test_what_peitho_compiled_is_given_to_the_builds_that_follow(tmp_path: Path) -> None:
    """
    The first is given nothing; when it is done, its uploads are compiled by a command of ours.
    """
    async with scene(tmp_path) as it:
        assert None is await done(it, b"first")
        own = await ahead(it, pods=2)
        assert go_packages.spec("ccenv") == own.spec
        assert ["/chaincode/input"] == [upload.path for upload in own.uploads]
        assert all(upload.archive.exists() for upload in own.uploads)
        await end(it, own)

        assert CACHE == await done(it, b"second")
        assert CACHE == await done(it, b"third")
        assert 4 == it.pods
    assert [] == list((tmp_path / "data/spool").iterdir())


async def test_what_a_build_makes_is_never_given_to_another(tmp_path: Path) -> None:
    """
    Neither its result, nor one under the key of what is given: no request leads to that.
    """
    async with scene(tmp_path) as it:
        await done(it, b"first")
        own = await ahead(it, pods=2)
        key = own.compiled_key
        asked = it.builds.create(own.spec, peer="b")
        it.made.append(asked)
        await it.begin(asked)
        await it.cluster.until_asked("POST", "pods", times=3)
        assert asked.id == it.runs.get(asked.id).id
        assert "" == it.runs.get(asked.id).compiled_key
        await it.finish(asked)

        assert package() == await result(asked)
        assert not (tmp_path / "data/builds" / key).exists()
        await end(it, own)
        assert CACHE == await done(it, b"second")


@pytest.mark.parametrize("how", ["fails", "is stopped", "is removed"])
async def test_a_build_that_is_not_done_leads_to_nothing(tmp_path: Path, how: str) -> None:
    """
    However it ends.
    """
    async with scene(tmp_path) as it:
        build = await begun(it, b"first")
        await given(it, build)
        await it.cluster.until_asked("POST", "pods")
        if how == "fails":
            await it.finish(build, code=1)
            await build.wait()
        await (build.stop() if how == "is stopped" else build.remove())

        assert 1 == it.pods
        assert [] == list((tmp_path / "data/builds").glob("*/about.json"))


async def test_a_build_of_ours_that_fails_is_said_and_not_tried_again(tmp_path: Path) -> None:
    """
    The builds of peers go on without; other dependencies are tried.
    """
    async with scene(tmp_path) as it:
        with structlog.testing.capture_logs() as logs:
            await done(it, b"first")
            await end(it, await ahead(it, pods=2), code=2)
        told = [each for each in logs if each["event"] == "packages not compiled ahead"]
        assert [("ccenv", "exit code 2")] == [(each["image"], each["cause"]) for each in told]

        assert None is await done(it, b"second")
        await asyncio.sleep(10)
        assert 3 == it.pods
        assert None is await done(it, b"third", vendored=b"v2")
        await end(it, await ahead(it, pods=5))
        assert CACHE == await done(it, b"fourth")


async def test_other_dependencies_are_compiled_too(tmp_path: Path) -> None:
    """
    On top of what is there: the build of ours is given it as well.
    """
    async with scene(tmp_path) as it:
        await done(it, b"first")
        await end(it, await ahead(it, pods=2))
        assert CACHE == await done(it, b"second", vendored=b"v2")
        own = await ahead(it, pods=4)
        archive = await it.runs.compiled(own)
        assert archive is not None
        assert CACHE == archive.read_bytes()
        await end(it, own, cache=MORE)

        assert MORE == await done(it, b"third")
        assert MORE == await done(it, b"fourth", vendored=b"v2")
        assert 6 == it.pods


async def test_what_was_compiled_for_a_tag_that_has_moved_is_compiled_again(tmp_path: Path) -> None:
    """
    Once for each image that builds find under a name; one that could not be is not tried again.
    """
    upload = BuildUpload("/chaincode/input", tmp_path / "none", "tree", "vendored")
    output = BuildOutput.create(tmp_path / "log", limit_bytes=1)
    build = Build("b", SPEC, directory=tmp_path, output=output, uploads=(upload,), compiled_key=KEY)
    build.lacks_compiled, build.image_id = True, "ccenv@sha256:1"
    packages = CompiledPackages(BuildCache.open(tmp_path / "builds"))
    assert packages.should_follow(build)
    packages.note(build, succeeded=False)
    assert not packages.should_follow(build)

    build.image_id = "ccenv@sha256:2"
    assert packages.should_follow(build)
    packages.note(build, succeeded=True)
    assert not packages.should_follow(build)
    output.close()


async def test_what_has_grown_too_large_is_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Builds are given it until the new one is there.
    """
    monkeypatch.setattr(compiled, "_LARGE_BYTES", len(CACHE) - 1)
    async with scene(tmp_path) as it:
        await done(it, b"first")
        await end(it, await ahead(it, pods=2))
        assert CACHE == await done(it, b"second", vendored=b"v2")
        own = await ahead(it, pods=4)
        assert None is await it.runs.compiled(own)
        await end(it, own, cache=MORE)
        assert MORE == await done(it, b"third")


async def test_an_upload_elsewhere_is_not_compiled(tmp_path: Path) -> None:
    """
    It could hide a part of the image, and what is compiled without it would be given to others.
    """
    async with scene(tmp_path) as it:
        assert None is await done(it, b"first", path="/usr/include")

        assert 1 == it.pods


@pytest.mark.parametrize("cache", [{"compiler": "off"}, {"compiler": False}, {"enable": False}])
async def test_it_can_be_switched_off(tmp_path: Path, cache: dict[str, object]) -> None:
    """
    With it, or with all that is kept of builds.
    """
    async with scene(tmp_path, cache=cache) as it:
        build = await begun(it, b"first")
        assert "" == it.runs.get(build.id).compiled_key
        assert None is await given(it, build)
        await it.finish(build)

        assert 1 == it.pods


async def test_a_change_of_the_setting_is_followed(tmp_path: Path) -> None:
    """
    By the builds that come.
    """
    async with scene(tmp_path) as it:
        await done(it, b"first")
        await end(it, await ahead(it, pods=2))
        it.follow(builder=BuilderSettings.model_validate({"cache": {"compiler": "off"}}))
        assert None is await done(it, b"second")
        it.follow(builder=BuilderSettings())
        assert CACHE == await done(it, b"third")


async def test_a_damaged_one_is_compiled_anew(tmp_path: Path) -> None:
    """
    It is set aside, and given to nobody; so is one that a limit has removed, after an hour.
    """
    async with scene(tmp_path, follows=False) as it:
        await done(it, b"first")
        own = await ahead(it, pods=2)
        await end(it, own)
        (tmp_path / "data/builds" / own.compiled_key / "result").write_bytes(b"other")

        assert None is await done(it, b"second")
        await asyncio.sleep(3600)
        assert 3 == it.pods
        assert None is await done(it, b"third")
        await end(it, await ahead(it, pods=5))
        assert CACHE == await done(it, b"fourth")


async def test_a_restart_keeps_it(tmp_path: Path) -> None:
    """
    As other kept builds.
    """
    async with scene(tmp_path) as it:
        await done(it, b"first")
        await end(it, await ahead(it, pods=2))
    async with scene(tmp_path) as it:
        assert CACHE == await done(it, b"second")
        await end(it, await ahead(it, pods=2))  # what was compiled is not known any more


async def test_where_a_quota_has_no_room_the_build_of_a_peer_has_it(tmp_path: Path) -> None:
    """
    What is being compiled ends, and is begun again after that build.
    """
    async with scene(tmp_path) as it:
        await done(it, b"first")
        own = await ahead(it, pods=2)
        full = always(lambda: refusal(403, "Forbidden", "exceeded quota: q"))
        it.cluster.script("POST", "pods", full)
        build = await begun(it, b"second")
        await it.cluster.until_asked("POST", "pods", times=4)
        assert own.over.is_set()
        assert None is await given(it, build)
        await it.finish(build)
        await end(it, await ahead(it, pods=5))
        assert CACHE == await done(it, b"third")

        it.cluster.script("POST", "pods", full)
        refused = it.builds.create(SPEC, peer="a")
        it.made.append(refused)
        assert "the build's Pod was refused: exceeded quota: q" == await outcome(refused.start())


async def test_where_the_cluster_refuses_a_second_pod_builds_go_on(tmp_path: Path) -> None:
    """
    It is tried again after the next build.
    """
    async with scene(tmp_path) as it:
        build = await begun(it, b"first")
        await given(it, build)
        await it.cluster.until_asked("POST", "pods")
        it.cluster.script("POST", "pods", always(lambda: refusal(403, "Forbidden", "quota: q")))
        with structlog.testing.capture_logs() as logs:
            await it.finish(build)
            await it.cluster.until_asked("POST", "pods", times=2)
            await asyncio.sleep(10)
        assert "the build's Pod was refused: quota: q" in [each.get("cause") for each in logs]

        assert None is await done(it, b"second")
        await end(it, await ahead(it, pods=4))
        assert CACHE == await done(it, b"third")
