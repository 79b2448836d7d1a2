import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
import structlog.testing
from hypothesis import given
from hypothesis import strategies as st

from peitho.clients.disk import sealed, storage
from peitho.clients.disk.storage import Storage
from peitho.errors import InvalidArgument, StorageFull, StorageUnusable
from tests.support.damage import changed
from tests.support.measured import sample


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


def content(storage: Storage, name: str) -> bytes | None:
    """The record of an image."""
    record = storage.image(name)
    return record.content if record else None


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

    assert 1 == opened.blob_bytes(digest)
    opened.remove_blob(digest)
    opened.remove_blob(digest)

    assert opened.blob(digest) is None
    assert opened.blob_bytes(digest) is None


def test_image_records_are_kept_by_any_name(opened: Storage) -> None:
    """
    A name may have slashes, dots and 300 characters; a later record takes the place of an earlier.
    """
    names = ["a/b:1", "../a", "x" * 300]
    for name in names:
        opened.save_image(name, b"old")
        opened.save_image(name, name.encode())

    assert [name.encode() for name in names] == [content(opened, name) for name in names]
    assert sorted(name.encode() for name in names) == sorted(
        record.content for record in opened.images()
    )
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
    assert b"record" == content(second, "name")
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


async def test_a_spool_directory_is_gone_at_its_end(opened: Storage) -> None:
    """
    Also if what was done in it failed.
    """
    async with opened.spool_directory("x-") as directory:
        (directory / "file").write_bytes(b"x")
    assert not directory.exists()

    with pytest.raises(FileNotFoundError):
        async with opened.spool_directory("x-") as directory:
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

        assert b"k" * 30_000 == content(full, "kept")

    async def test_an_upload_that_does_not_fit_is_told(self, full: Storage) -> None:
        """
        The peer reads the cause, and the upload's directory can be dropped.
        """
        too_much = chunks(*[bytes(10_000)] * 5)
        async with full.spool_directory("upload-") as directory:
            with pytest.raises(StorageFull):
                await storage.spool(too_much, directory / "body", limit_bytes=10**9)

        assert b"k" * 30_000 == content(full, "kept")


def blob(storage: Storage, content: bytes) -> str:
    """The digest of a new blob."""
    return storage.add_blob(lambda file: void(file.write(content)))[0]


def set_aside(root: Path) -> list[str]:
    """What is in `damaged/`, without the time."""
    return sorted(path.name.partition("-")[2] for path in (root / "damaged").iterdir())


class TestDamage:
    @given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(0, 255))
    def test_no_changed_blob_is_ever_handed_over(self, place: float, flip: int) -> None:
        """
        Flipped or cut (0), wherever: it is not there, it is set aside, and others are as before.
        """
        with tempfile.TemporaryDirectory() as folder:
            opened = Storage.open(Path(folder))
            digest, other = blob(opened, b"a layer" * 20), blob(opened, b"another")
            path = opened.blob(digest)
            assert path is not None
            path.write_bytes(changed(path.read_bytes(), place, flip))

            assert opened.verified_blob(digest, anew=True) is None
            assert opened.blob(digest) is None
            assert [f"layer-{path.name}"] == set_aside(Path(folder))
            assert opened.verified_blob(other, anew=True) == opened.blob(other)

    @given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(0, 255))
    def test_no_changed_record_is_ever_taken_for_one(self, place: float, flip: int) -> None:
        """
        What is not set aside at once is nothing that could be read as a record of an image.
        """
        with tempfile.TemporaryDirectory() as folder:
            opened = Storage.open(Path(folder))
            opened.save_image("mycc", b'{"name": "mycc"}')
            opened.save_image("other", b"{}")
            (path,) = [each.path for each in opened.images() if each.is_of("mycc")]
            path.write_bytes(changed(path.read_bytes(), place, flip))

            read = content(opened, "mycc")
            assert read is None or b'{"name": "mycc"}' != read[:17]
            assert b"{}" == content(opened, "other")

    def test_a_changed_blob_is_noticed_by_its_size_and_time(self, opened: Storage) -> None:
        """
        Also where nobody asks for it to be read anew.
        """
        digest = blob(opened, b"layer")
        path = opened.blob(digest)
        assert path is not None
        assert path == opened.verified_blob(digest)

        path.write_bytes(b"rotten")

        assert opened.verified_blob(digest) is None

    def test_a_damaged_blob_is_told_with_its_cause(self, opened: Storage, tmp_path: Path) -> None:
        """
        In one line of the log, and in the metric.
        """
        digest = blob(opened, b"layer")
        path = opened.blob(digest)
        assert path is not None
        path.write_bytes(b"rotten")
        before = sample("peitho_store_damaged_total", kind="layer")

        with structlog.testing.capture_logs() as logs:
            opened.verified_blob(digest)
            opened.verified_blob(digest)

        (line,) = logs
        assert ("stored file damaged", "layer") == (line["event"], line["what"])
        assert str(path) == line["path"]
        actual = hashlib.sha256(b"rotten").hexdigest()
        assert f"its sha256 is {actual} instead of {path.name}" == line["cause"]
        assert b"rotten" == Path(line["kept_as"]).read_bytes()
        assert before + 1 == sample("peitho_store_damaged_total", kind="layer")
        assert [f"layer-{path.name}"] == set_aside(tmp_path / "data")

    def test_a_blob_that_is_written_anew_is_there_again(self, opened: Storage) -> None:
        """
        Whether or not the damage was found before.
        """
        digest = blob(opened, b"layer")
        path = opened.blob(digest)
        assert path is not None
        path.write_bytes(b"rotten")

        assert digest == blob(opened, b"layer")

        assert path == opened.verified_blob(digest, anew=True)

    def test_a_record_without_a_seal_is_read_and_sealed_when_it_is_saved(
        self, opened: Storage
    ) -> None:
        """
        An earlier Peitho wrote it.
        """
        opened.save_image("mycc", b"{}")
        (record,) = opened.images()
        record.path.write_bytes(b'{"old": 1}')
        assert b'{"old": 1}' == content(opened, "mycc")

        opened.save_image("mycc", b'{"old": 1}')

        assert sealed.is_sealed(record.path.read_bytes())
        assert b'{"old": 1}' == content(opened, "mycc")

    def test_notes_that_have_changed_are_set_aside(self, opened: Storage, tmp_path: Path) -> None:
        """
        They are not there then; those of an earlier Peitho, without a seal, are.
        """
        path = tmp_path / "data/usage.json"
        path.write_bytes(b'{"peers": {}}')
        assert b'{"peers": {}}' == opened.read_file("usage.json")
        opened.save_file("usage.json", b'{"peers": {}}')
        assert b'{"peers": {}}' == opened.read_file("usage.json")

        path.write_bytes(path.read_bytes().replace(b"peers", b"beers"))

        assert opened.read_file("usage.json") is None
        assert ["notes-usage.json"] == set_aside(tmp_path / "data")

    def test_a_result_that_has_changed_is_told_and_set_aside(
        self, opened: Storage, tmp_path: Path
    ) -> None:
        """
        A second question finds it gone.
        """
        path = opened.make_spool_directory("run-") / "result"
        path.write_bytes(b"binary")
        digest = hashlib.sha256(b"binary").hexdigest()
        assert "" == opened.damage(path, digest)

        path.write_bytes(b"rotten")

        assert "its sha256 is" in opened.damage(path, digest)
        assert "it is gone" == opened.damage(path, digest)
        assert ["result-result"] == set_aside(tmp_path / "data")


@pytest.mark.parametrize("key", [b"", b"k" * 31, b"k" * 33])
def test_a_key_of_another_size_is_refused(opened: Storage, tmp_path: Path, key: bytes) -> None:
    """
    With an empty one, anybody could make tokens.
    """
    (tmp_path / "data/delivery.key").write_bytes(key)

    with pytest.raises(StorageUnusable, match=f"it has {len(key)} bytes instead of 32: take it"):
        opened.delivery_key()


def test_the_authority_is_its_owners_alone_and_stays(opened: Storage, tmp_path: Path) -> None:
    """
    It is made once; whoever only looks makes none.
    """
    looking = Storage(tmp_path / "data", looks=True)
    looking.delivery_authority()
    path = tmp_path / "data/delivery-ca.json"
    assert not path.exists()

    made = opened.delivery_authority()

    assert made.pem == Storage.open(tmp_path / "data").delivery_authority().pem
    assert made.pem == looking.delivery_authority().pem
    assert made.pem != Storage.open(tmp_path / "other").delivery_authority().pem
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)


@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(0, 255))
def test_a_damaged_authority_is_told_with_what_to_do(place: float, flip: int) -> None:
    """
    Flipped anywhere, or cut (0); it stays as it is.
    """
    with tempfile.TemporaryDirectory() as folder:
        storage = Storage.open(Path(folder))
        storage.delivery_authority()
        path = Path(folder) / "delivery-ca.json"
        path.write_bytes(damaged := changed(path.read_bytes(), place, flip))

        with pytest.raises(StorageUnusable, match=r"delivery-ca.json is damaged, .*: take it from"):
            storage.delivery_authority()
        assert damaged == path.read_bytes()


class TestAMissingDirectory:
    def test_every_use_of_it_tells_the_cause(self, opened: Storage, tmp_path: Path) -> None:
        """
        And what to see to; nothing is taken for absent, nor made in another place.
        """
        shutil.rmtree(tmp_path / "data")
        digest = f"sha256:{'0' * 64}"
        uses: list[Callable[[], object]] = [
            lambda: opened.image("mycc"),
            lambda: list(opened.images()),
            lambda: opened.verified_blob(digest),
            lambda: opened.save_image("mycc", b"{}"),
            lambda: opened.make_spool_directory("x-"),
            lambda: blob(opened, b"x"),
            opened.volume,
            opened.try_writing,
            opened.delivery_key,
            opened.delivery_authority,
        ]
        for use in uses:
            with pytest.raises(StorageUnusable, match=r"cannot be used \(No such file .* volume"):
                use()

        assert [] == files(tmp_path)


def a_directory(path: Path) -> None:
    """Put one where a file was, with something in it."""
    (path / "in").mkdir(parents=True)


def a_socket(path: Path) -> None:
    """Put one where a file was; its name may be longer than that of a socket."""
    os.mknod(path, 0o600 | stat.S_IFSOCK)


def a_circle(path: Path) -> None:
    """Put a link that leads to itself."""
    path.symlink_to(path.name)


def a_device(path: Path) -> None:
    """Put a link to what has no end."""
    path.symlink_to("/dev/zero")


ODD: dict[str, Callable[[Path], None]] = {
    "directory": a_directory,
    "fifo": os.mkfifo,
    "socket": a_socket,
    "circle": a_circle,
    "device": a_device,
}


def write_layer(file: BinaryIO) -> None:
    """Write what a layer has."""
    file.write(b"layer")


@pytest.mark.parametrize("odd", ODD)
class TestWhatIsNoFile:
    """Something else where a file should be: who opens a FIFO waits for ever."""

    def test_an_image_is_not_there_and_no_other_suffers(self, opened: Storage, odd: str) -> None:
        """
        It is set aside, and built anew.
        """
        opened.save_image("mycc", b"{}")
        opened.save_image("odd", b"{}")
        (place,) = [each.path for each in opened.images() if each.is_of("odd")]
        place.unlink()
        ODD[odd](place)

        assert 2 == len(opened.image_files())
        assert opened.image("odd") is None
        assert ["mycc"] == [
            name for name in ("mycc", "odd") for r in opened.images() if r.is_of(name)
        ]
        opened.save_image("odd", b"{}")
        assert opened.image("odd")

    def test_a_layer_is_not_there(self, opened: Storage, odd: str) -> None:
        """
        The next build makes it anew.
        """
        digest, size = opened.add_blob(write_layer)
        place = opened.blob(digest)
        assert place
        place.unlink()
        ODD[odd](place)

        assert opened.verified_blob(digest) is None
        assert opened.blobs_bytes() >= 0
        assert (digest, size) == opened.add_blob(write_layer)
        assert opened.verified_blob(digest, anew=True)

    def test_a_key_is_not_replaced(self, opened: Storage, tmp_path: Path, odd: str) -> None:
        """
        The operator is told which it is.
        """
        for name in ("delivery.key", "delivery-ca.json"):
            ODD[odd](tmp_path / "data" / name)

        for use in (opened.delivery_key, opened.delivery_authority):
            with pytest.raises(StorageUnusable, match=r"delivery.* is damaged, it is no file"):
                use()

    def test_notes_begin_anew(self, opened: Storage, tmp_path: Path, odd: str) -> None:
        """
        They can be written again.
        """
        ODD[odd](tmp_path / "data" / "usage.json")
        assert opened.read_file("usage.json") is None
        opened.save_file("usage.json", b"[]")
        assert b"[]" == opened.read_file("usage.json")


def test_a_try_of_writing_leaves_nothing(opened: Storage, tmp_path: Path) -> None:
    """
    Wherever it went through.
    """
    opened.try_writing()

    assert [] == files(tmp_path)


def test_making_the_directories_takes_nothing_away(opened: Storage, tmp_path: Path) -> None:
    """
    Only a clearing does, of what is in flight.
    """
    upload = opened.make_spool_directory("upload-") / "body"
    upload.write_bytes(b"x")
    (tmp_path / "data/spool/tmp1").write_bytes(b"x")

    Storage.make(tmp_path / "data")
    assert upload.exists()

    opened.clear_spool()
    assert [] == files(tmp_path)


def test_each_directory_has_an_owner_of_its_own(tmp_path: Path) -> None:
    """
    The same after a restart, and nothing tells the key by it.
    """
    storage, other = Storage.open(tmp_path / "a"), Storage.open(tmp_path / "b")

    assert storage.owner() == Storage.open(tmp_path / "a").owner() != other.owner()
    assert storage.owner() not in storage.delivery_key().hex()
