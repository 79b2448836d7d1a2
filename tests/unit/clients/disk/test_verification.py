import hashlib
import os
from pathlib import Path

import pytest

from peitho.clients.disk.verification import DamagedFile, Stamp, Verification, content_of, digest_of

DIGEST = hashlib.sha256(b"layer").hexdigest()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file."""
    path = tmp_path / "file"
    path.write_bytes(b"layer")
    return path


def rot(path: Path) -> None:
    """Change the content, and nothing that is seen without reading."""
    before = path.stat()
    with path.open("r+b") as file:
        file.write(b"rotte")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert Stamp.of(before) == Stamp.of(path.stat())


def test_a_file_that_is_as_it_was_is_read_once_a_day(path: Path) -> None:
    """
    A hand-over reads it all the same.
    """
    verification = Verification()
    verification.check(path, DIGEST)
    rot(path)

    verification.check(path, DIGEST)
    with pytest.raises(DamagedFile, match=f"instead of {DIGEST}"):
        verification.verify(path, DIGEST)


def test_a_day_later_it_is_read_again(path: Path) -> None:
    """
    Rot changes neither size nor time.
    """
    verification = Verification(good_for_seconds=0)
    verification.check(path, DIGEST)
    rot(path)

    with pytest.raises(DamagedFile):
        verification.check(path, DIGEST)


@pytest.mark.parametrize("content", [b"LAYER", b"lay", b""])
def test_a_file_that_changed_is_read_again(path: Path, content: bytes) -> None:
    """
    Whoever wrote to it.
    """
    verification = Verification()
    verification.check(path, DIGEST)
    os.utime(path, (5, 5))
    path.write_bytes(content)

    with pytest.raises(DamagedFile) as damage:
        verification.check(path, DIGEST)
    assert Stamp.of(path.stat()) == damage.value.stamp


def test_a_file_is_good_for_its_own_digest_alone(path: Path) -> None:
    """
    Another is asked of the disk.
    """
    verification = Verification()
    verification.check(path, DIGEST)

    with pytest.raises(DamagedFile):
        verification.check(path, "0" * 64)


def test_a_file_that_is_gone_is_not_damaged(path: Path) -> None:
    """
    Known or not.
    """
    verification = Verification()
    verification.check(path, DIGEST)
    path.unlink()

    for look in (verification.check, verification.verify):
        with pytest.raises(FileNotFoundError):
            look(path, DIGEST)


def test_what_is_read_comes_with_its_stamp(path: Path) -> None:
    """
    So that nobody takes another file for the one that was read.
    """
    stamp = Stamp.of(path.stat())

    assert (stamp, DIGEST) == digest_of(path)
    assert (stamp, b"layer") == content_of(path)
