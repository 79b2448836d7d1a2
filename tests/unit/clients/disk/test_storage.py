import hashlib
import os
import stat
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from peitho.clients.disk import storage
from peitho.clients.disk.storage import Storage
from peitho.errors import InvalidArgument, StorageFull


@pytest.fixture
def opened(tmp_path: Path) -> Storage:
    """A data directory that was just made."""
    return Storage.open(tmp_path / "data")


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Storage]:
    """A data directory on a disk of 64 KiB, where half of it is an image's record."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if os.getuid() != 0 or subprocess.run(command, check=False).returncode != 0:
        pytest.skip("only root can mount a small disk to fill")
    try:
        made = Storage.open(disk)
        made.save_image("kept", b"k" * 30_000)
        yield made
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def files(root: Path) -> list[str]:
    """The files below a directory."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    """A body in parts."""
    for part in parts:
        yield part


def test_a_blob_is_known_by_its_digest(opened: Storage, tmp_path: Path) -> None:
    """
    Written once, the same bytes have one file, in the place of their digest.
    """
    digest, size = opened.add_blob(lambda file: void(file.write(b"layer")))
    again, _ = opened.add_blob(lambda file: void(file.write(b"layer")))

    digits = hashlib.sha256(b"layer").hexdigest()
    assert (f"sha256:{digits}", 5) == (digest, size)
    assert digest == again
    path = opened.blob(digest)
    assert path is not None
    assert b"layer" == path.read_bytes()
    assert [f"data/blobs/sha256/{digits}"] == files(tmp_path)


def void(_: object) -> None:
    """Make a call a statement."""


def test_a_write_that_fails_leaves_nothing(opened: Storage, tmp_path: Path) -> None:
    """
    Half a blob is never found, nor left behind.
    """

    def write(file: BinaryIO) -> None:
        file.write(b"half")
        raise InvalidArgument("the archive is cut")

    with pytest.raises(InvalidArgument, match="the archive is cut"):
        opened.add_blob(write)

    assert [] == files(tmp_path)


@pytest.mark.parametrize(
    "digest",
    ["", "sha256:", "sha256:../../x", "md5:abc", "abc", "sha256:" + "0" * 64, "sha256:a/b"],
)
def test_what_is_no_digest_of_ours_is_no_blob(opened: Storage, digest: str) -> None:
    """
    A name from outside never leads out of the blobs' directory.
    """
    assert opened.blob(digest) is None


def test_a_blob_can_be_removed_twice(opened: Storage) -> None:
    """
    It may be gone already.
    """
    digest, _ = opened.add_blob(lambda file: void(file.write(b"x")))

    opened.remove_blob(digest)
    opened.remove_blob(digest)

    assert opened.blob(digest) is None


def test_image_records_are_kept_by_any_name(opened: Storage) -> None:
    """
    A name may have slashes, dots and 300 characters; a later record takes the place of an earlier.
    """
    names = ["a/b:1", "../a", "x" * 300]
    for name in names:
        opened.save_image(name, b"old")
        opened.save_image(name, name.encode())

    assert names == [(opened.image(name) or b"").decode() for name in names]
    assert sorted(name.encode() for name in names) == sorted(opened.images())
    opened.remove_image("a/b:1")
    opened.remove_image("a/b:1")
    assert opened.image("a/b:1") is None
    assert 2 == len(list(opened.images()))


def test_a_restart_keeps_what_is_kept_and_drops_what_is_in_flight(tmp_path: Path) -> None:
    """
    Blobs, records and the key are data; spool files are of one run.
    """
    first = Storage.open(tmp_path)
    digest, _ = first.add_blob(lambda file: void(file.write(b"layer")))
    first.save_image("name", b"record")
    key = first.delivery_key()
    (first.make_spool_directory("build-") / "half").write_bytes(b"x")

    second = Storage.open(tmp_path)

    assert second.blob(digest) is not None
    assert b"record" == second.image("name")
    assert key == second.delivery_key()
    assert [] == list((tmp_path / "spool").iterdir())


def test_the_key_is_its_owners_alone(opened: Storage, tmp_path: Path) -> None:
    """
    32 random bytes that no other user can read.
    """
    key = opened.delivery_key()

    assert 32 == len(key)
    assert key != Storage.open(tmp_path / "other").delivery_key()
    mode = (tmp_path / "data/delivery.key").stat().st_mode
    assert 0o600 == stat.S_IMODE(mode)


def test_a_spool_directory_is_gone_at_its_end(opened: Storage) -> None:
    """
    Also if what was done in it failed.
    """
    with opened.spool_directory("x-") as directory:
        (directory / "file").write_bytes(b"x")
    assert not directory.exists()

    with pytest.raises(FileNotFoundError), opened.spool_directory("x-") as directory:
        (directory / "none").read_bytes()
    assert not directory.exists()


async def test_a_body_is_spooled_as_it_comes(tmp_path: Path) -> None:
    """
    Its size is what it had, up to the limit itself.
    """
    size = await storage.spool(chunks(b"ab", b"", b"cd"), tmp_path / "body", limit_bytes=4)

    assert 4 == size
    assert b"abcd" == (tmp_path / "body").read_bytes()


async def test_a_body_past_the_limit_is_refused(tmp_path: Path) -> None:
    """
    No byte past the limit is written.
    """
    with pytest.raises(InvalidArgument, match="the body is larger than 4 bytes"):
        await storage.spool(chunks(b"abc", b"de"), tmp_path / "body", limit_bytes=4)

    assert b"abc" == (tmp_path / "body").read_bytes()


class TestAFullDisk:
    def test_a_blob_that_does_not_fit_leaves_nothing(self, full: Storage) -> None:
        """
        The disk is told to be full, and the space is free again.
        """
        with pytest.raises(StorageFull, match="The data directory is full"):
            full.add_blob(lambda file: void(file.write(bytes(50_000))))

        digest, _ = full.add_blob(lambda file: void(file.write(bytes(20_000))))
        assert full.blob(digest) is not None

    def test_a_record_that_does_not_fit_leaves_the_earlier_one(self, full: Storage) -> None:
        """
        What is stored is intact.
        """
        with pytest.raises(StorageFull):
            full.save_image("kept", b"n" * 50_000)

        assert b"k" * 30_000 == full.image("kept")

    async def test_an_upload_that_does_not_fit_is_told(self, full: Storage) -> None:
        """
        The peer reads the cause, and the upload's directory can be dropped.
        """
        with full.spool_directory("upload-") as directory, pytest.raises(StorageFull):
            await storage.spool(chunks(*[bytes(10_000)] * 5), directory / "body", limit_bytes=10**9)

        assert b"k" * 30_000 == full.image("kept")
