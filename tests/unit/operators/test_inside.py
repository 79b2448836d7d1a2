import asyncio
import json
from pathlib import Path

import pytest

from peitho.api import health
from peitho.clients.disk.build_cache import LOG, RESULT, BuildCache, KeptBuild
from peitho.clients.disk.storage import Storage, sha256
from peitho.errors import InvalidArgument, NotFound, Unavailable
from peitho.formats.docker import streams
from peitho.formats.docker.streams import STDOUT
from peitho.formats.records import ContainerSpec
from peitho.operators import inside
from peitho.program import composition
from peitho.settings.models import Settings
from tests.support.contexts import chunks, context
from tests.support.in_process import Running, listening, running
from tests.support.operated import run

_SPEC = ContainerSpec(image="ccenv", command=("go", "build"), entrypoint=(), env=())


def settings_of(tmp_path: Path, *, operations: str = "127.0.0.1:9") -> Settings:
    """Settings of a data directory, and of who serves from it."""
    return Settings.model_validate(
        {"dataDir": tmp_path / "data", "server": {"operations": operations}}
    )


def with_tls(tmp_path: Path, url: str, folder: Path) -> Settings:
    """The settings by which a Peitho serves with the certificate in a folder."""
    tls = {
        "cert-file": folder / "apiserver.crt",
        "key-file": folder / "apiserver.key",
        "client-ca-file": folder / "ca.crt",
    }
    server = {"operations": url.removeprefix("https://"), "operationsTls": tls}
    return Settings.model_validate({"dataDir": tmp_path / "data", "server": server})


def keep(tmp_path: Path, key: str) -> None:
    """Keep a build whose log has one line."""
    made = tmp_path / f"made-{key}"
    made.mkdir()
    (made / LOG).write_bytes(streams.frame(STDOUT, f"compiled {key[:4]}\n".encode()))
    (made / RESULT).write_bytes(b"result")
    build = KeptBuild(sha256(made / RESULT), "amd64", "ccenv", 1.0, 1767323045.0)
    BuildCache.open(tmp_path / "data/builds").keep(key, build, made)


async def said(settings: Settings, asked: str) -> bytes:
    """The log of a build, as a command prints it."""
    return b"".join([each async for each in inside.build_log(settings, asked, follow=False)])


def serving(peitho: Running, tmp_path: Path) -> Settings:
    """The settings by which a Peitho serves."""
    return settings_of(tmp_path, operations=peitho.operations.removeprefix("http://"))


async def test_images_are_those_of_the_data_directory(tmp_path: Path) -> None:
    """
    Beside a Peitho that serves, or without one; a damaged record is another command's.
    """
    async with running(tmp_path) as peitho:
        await peitho.services.images.build("mycc", chunks(context()))
        await peitho.services.images.build("other", chunks(context()))
        peitho.services.usage.touch("mycc", "10.0.0.7")
        await peitho.services.sweeper.keep_usage()
        await asyncio.to_thread(Storage(tmp_path / "data").save_image, "bad", b"{}")
        shown = await asyncio.to_thread(
            run, "images", "--dataDir", str(tmp_path / "data"), "-o", "json"
        )
        table = await asyncio.to_thread(run, "images", "--dataDir", str(tmp_path / "data"))

    first, second = json.loads(shown.stdout)
    assert ("mycc", "other") == (first["name"], second["name"])
    assert first["used"]
    assert "" == second["used"]
    assert first["bytes"] > 0
    assert first["id"].startswith("sha256:")
    assert first["id"][7:19] in table.stdout
    assert 3 == len(table.stdout.splitlines())


async def test_builds_are_those_under_way_and_those_kept(tmp_path: Path) -> None:
    """
    What runs comes first.
    """
    async with running(tmp_path) as peitho:
        keep(tmp_path, "ab" * 32)
        build = peitho.services.builds.create(_SPEC, peer="10.0.0.7")
        await peitho.begun(build)
        rows = await inside.builds(serving(peitho, tmp_path))

    assert [("running", build.id), ("kept", "ab" * 32)] == [
        (row["phase"], row["id"]) for row in rows
    ]


async def test_without_a_peitho_it_is_told_where_it_was_looked_for(tmp_path: Path) -> None:
    """
    And with one of another data directory, too: its token is another.
    """
    Storage.open(tmp_path / "data").delivery_key()
    with pytest.raises(Unavailable, match=r"^No Peitho answers at 127\.0\.0\.1:9 \(server\.op"):
        await inside.builds(settings_of(tmp_path))
    (tmp_path / "other").mkdir()
    async with running(tmp_path / "other") as peitho:
        with pytest.raises(Unavailable, match=r"answered 403: does it serve from .*dataDir"):
            await inside.builds(serving(peitho, tmp_path))


async def test_in_tls_a_peitho_is_known_by_its_certificate(
    tmp_path: Path, certificates: Path
) -> None:
    """
    Whatever name that is for, and without one of our own; with another it is asked for nothing.
    """
    ours, others = certificates / "ours", certificates / "others"
    async with running(tmp_path) as peitho:
        settings = with_tls(tmp_path, "https://127.0.0.1:9", ours)
        tls = composition.operations_tls(settings.server.operations_tls)
        async with listening(health.application(peitho.services), tls=tls) as url:
            keep(tmp_path, "ab" * 32)
            (kept,) = await inside.builds(with_tls(tmp_path, url, ours))
            with pytest.raises(Unavailable, match=r"^No Peitho answers at 127\.0\.0\.1:\d+ "):
                await inside.builds(with_tls(tmp_path, url, others))
            (others / "apiserver.crt").unlink()
            with pytest.raises(Unavailable, match=r"cannot be read \(.*apiserver\.crt\): "):
                await inside.builds(with_tls(tmp_path, url, others))

    assert "kept" == kept["phase"]


async def test_a_log_is_a_running_builds_or_a_kept_ones(tmp_path: Path) -> None:
    """
    By the beginning of its ID; a kept one's also while no Peitho runs.
    """
    async with running(tmp_path) as peitho:
        keep(tmp_path, "ab" * 32)
        build = peitho.services.builds.create(_SPEC)
        under_way = await peitho.begun(build)
        await under_way.append_output(chunks(streams.frame(STDOUT, b"compiles\n")))
        settings = serving(peitho, tmp_path)

        assert b"compiles\n" == await said(settings, build.id[:12])
        assert b"compiled abab\n" == await said(settings, "abab")
    assert b"compiled abab\n" == await said(settings_of(tmp_path), "abab")


async def test_a_build_that_is_not_there_or_not_clear_is_told(tmp_path: Path) -> None:
    """
    Whatever was typed.
    """
    Storage.open(tmp_path / "data").delivery_key()
    for key in ("ab" * 32, "ab" * 31 + "cd"):
        keep(tmp_path, key)
    settings = settings_of(tmp_path)
    with pytest.raises(InvalidArgument, match=r"^abab may be any of 2 kept builds"):
        await said(settings, "abab")
    for asked in ("ffff", "../../etc/passwd", "-f", "", "ab\n", "ABAB"):
        with pytest.raises(NotFound):
            await said(settings, asked)


async def test_a_record_in_the_place_of_another_is_no_image(tmp_path: Path) -> None:
    """
    `peitho check-store` tells of it, and an image is listed once.
    """
    async with running(tmp_path) as peitho:
        await peitho.services.images.build("mycc", chunks(context()))
    (record,) = (tmp_path / "data/images").iterdir()
    (record.parent / f"{'0' * 64}.json").write_bytes(record.read_bytes())

    assert ["mycc"] == [row["name"] for row in inside.images(settings_of(tmp_path))]
