import os
from pathlib import Path

import pytest

from peitho.clients.disk.build_cache import ABOUT, LOG, RESULT, BuildCache, KeptBuild
from peitho.clients.disk.storage import Storage, sha256
from peitho.core.images.store import BuildResults, ImageStore
from peitho.core.images.stored_bytes import StoredBytes
from peitho.core.tenant import TenantOptions
from peitho.errors import LimitReached
from peitho.formats.tar import ArchiveLimits
from peitho.settings.live import Live, Replaceable
from tests.support.contexts import chunks, context, package

OLD, NEW = "0" * 64, "1" * 64


class Scene:
    """A data directory with a limit."""

    def __init__(self, root: Path, limit_bytes: int) -> None:
        self.root = root
        self.storage = Storage.open(root)
        self.cache = BuildCache.open(root / "builds")
        self.options = Replaceable(TenantOptions("acme", stored_bytes=limit_bytes))
        self.stored = StoredBytes(self.storage, self.cache, self.options)
        self.images = ImageStore(
            self.storage,
            BuildResults(),
            limits=Live(ArchiveLimits(entries=50, total_bytes=10_000_000)),
            stored_bytes=self.stored,
        )

    def keep(self, key: str, *, used_at: float) -> None:
        """Keep a build of 100,000 bytes."""
        directory = self.root / f"made-{key[0]}"
        directory.mkdir()
        (directory / LOG).write_bytes(b"")
        (directory / RESULT).write_bytes(b"x" * 100_000)
        build = KeptBuild(sha256(directory / RESULT), "amd64", "ccenv", 1.0, kept_at=used_at)
        self.cache.keep(key, build, directory)
        os.utime(self.root / "builds" / key / ABOUT, (used_at, used_at))

    def kept(self) -> list[str]:
        """The keys of the builds that are kept."""
        return [entry.key for entry in self.cache.entries()]


def test_the_least_used_kept_builds_go_first(tmp_path: Path) -> None:
    """
    As few as make room.
    """
    scene = Scene(tmp_path / "data", 250_000)
    scene.keep(OLD, used_at=1000.0)
    scene.keep(NEW, used_at=2000.0)

    scene.stored.make_room()
    assert [OLD, NEW] == scene.kept()

    scene.stored.make_room(100_000)
    assert [NEW] == scene.kept()


def test_what_cannot_have_room_takes_none_from_others(tmp_path: Path) -> None:
    """
    It is refused with the setting, and what to do.
    """
    scene = Scene(tmp_path / "data", 250_000)
    scene.keep(OLD, used_at=1000.0)

    with pytest.raises(LimitReached, match=r"250000 bytes.*stored-bytes.*remove some"):
        scene.stored.make_room(300_000)
    assert [OLD] == scene.kept()


def test_without_a_limit_there_is_none(tmp_path: Path) -> None:
    """
    As where there are no tenants.
    """
    Scene(tmp_path / "data", 0).stored.make_room(10**15)


async def test_an_image_that_is_too_much_is_none(tmp_path: Path) -> None:
    """
    Its layer does not stay. One that is there may be built again, and another layer in its place.
    """
    scene = Scene(tmp_path / "data", 50_000)
    big = context(binpackage=package(b"x" * 100_000))
    await scene.images.build("lab-peer0-a-1", chunks(context()))

    with pytest.raises(LimitReached, match="50000 bytes"):
        await scene.images.build("lab-peer0-b-1", chunks(big))

    assert ["lab-peer0-a-1"] == [image.name for image in scene.images.list()]
    assert 50_000 > scene.storage.blobs_bytes() > 0

    scene.options.now = TenantOptions("acme", stored_bytes=scene.storage.blobs_bytes())
    await scene.images.build("lab-peer0-a-1", chunks(context()))
    await scene.images.build("lab-peer0-b-1", chunks(context()))  # of the same layer
    await scene.images.remove("lab-peer0-b-1")
    await scene.images.build("lab-peer0-a-1", chunks(context(binpackage=package(b"other"))))
