import hashlib
import io
import os
import socket
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peitho.errors import InvalidArgument
from peitho.formats import tar
from peitho.formats.tar import ArchiveLimits, TarEntry
from tests.support.archives import archive, archive_bytes, directory, file, hardlink, symlink

LIMITS = ArchiveLimits(entries=100, total_bytes=100_000)

NAMES = st.text("ab-.é", min_size=1, max_size=5).filter(lambda name: name not in (".", ".."))
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
FILES = st.dictionaries(PATHS, st.binary(max_size=2000), max_size=5).filter(
    lambda files: (
        not any(other.startswith(f"{name}/") for name in files for other in files if other != name)
    )
)


def tree(root: Path) -> dict[str, bytes]:
    """The files below a directory."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


@given(FILES, st.sampled_from(["", "gz"]))
def test_what_was_packed_is_unpacked(files: dict[str, bytes], compression: str) -> None:
    """
    Whatever the names, contents and compression, the same files come out.
    """
    packed = archive(*(file(*each) for each in files.items()), compression=compression)

    with TemporaryDirectory() as target:
        tar.unpack(packed, Path(target), limits=LIMITS)

        assert files == tree(Path(target))


@given(FILES)
def test_a_packed_directory_is_read_as_it_was(files: dict[str, bytes]) -> None:
    """
    `pack` and `read_files` are each other's inverse.
    """
    with TemporaryDirectory() as root:
        for name, content in files.items():
            path = Path(root, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        out = io.BytesIO()
        tar.pack(Path(root), out)

    out.seek(0)
    found = tar.read_files(out, limits=LIMITS)

    assert {f"/{name}": content for name, content in files.items()} == found


def test_a_packed_directory_is_named_as_dockers(tmp_path: Path) -> None:
    """
    The root is `.`, names begin with `./`, owners have no names, and a socket is left out.
    """
    (tmp_path / "chaincode").write_bytes(b"elf")
    (tmp_path / "link").symlink_to("chaincode")
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.path.relpath(tmp_path / "socket"))
    out = io.BytesIO()

    tar.pack(tmp_path, out)

    out.seek(0)
    with tarfile.open(fileobj=out) as packed:
        members = packed.getmembers()
    assert [".", "./chaincode", "./fifo", "./link"] == [member.name for member in members]
    assert {("", "")} == {(member.uname, member.gname) for member in members}


def test_scan_tells_of_each_entry() -> None:
    """
    Names are normalized, modes and sizes kept, and digests made when asked for.
    """
    content = b"package main"
    packed = archive(
        directory("./src/"),
        file("./src//main.go", content, mode=0o100755),
        symlink("src/link", "main.go"),
        hardlink("src/same", "/src/main.go"),
    )

    digest = hashlib.sha256(content).hexdigest()
    assert [
        TarEntry("src", "dir", 0o755, 0),
        TarEntry("src/main.go", "file", 0o755, 12, sha256=digest),
        TarEntry("src/link", "symlink", 0o644, 0, link="main.go"),
        TarEntry("src/same", "hardlink", 0o644, 0, link="src/main.go"),
    ] == tar.scan(packed, limits=LIMITS, digests=True)


def test_links_and_modes_are_unpacked(tmp_path: Path) -> None:
    """
    Links inside the target are made, and an executable stays one.
    """
    packed = archive(
        directory("bin", mode=0o555),
        file("bin/run", b"#!", mode=0o555),
        symlink("bin/link", "../bin/run"),
        hardlink("same", "bin/run"),
    )

    tar.unpack(packed, tmp_path, limits=LIMITS)

    assert 0o555 == (tmp_path / "bin/run").stat().st_mode & 0o777
    assert 0o755 == (tmp_path / "bin").stat().st_mode & 0o777
    assert b"#!" == (tmp_path / "bin/link").read_bytes()
    assert (tmp_path / "same").samefile(tmp_path / "bin/run")


def test_what_is_there_is_replaced(tmp_path: Path) -> None:
    """
    A later archive wins over an earlier one, links included, and never through a link.
    """
    first = archive(file("a", b"old"), symlink("b", "a"), symlink("c", "a"), directory("d"))
    tar.unpack(first, tmp_path, limits=LIMITS)

    second = archive(file("a", b"new"), file("b", b"file"), directory("c"), directory("d"))
    tar.unpack(second, tmp_path, limits=LIMITS)

    assert {"a": b"new", "b": b"file"} == tree(tmp_path)
    assert (tmp_path / "c").is_dir()


def test_a_file_does_not_replace_a_directory(tmp_path: Path) -> None:
    """
    A directory with content is not dropped for a file of its name.
    """
    with pytest.raises(InvalidArgument, match="'d' would replace a directory"):
        tar.unpack(archive(directory("d"), file("d")), tmp_path, limits=LIMITS)


class TestDamagedArchives:
    MEMBERS = (directory("src"), file("src/a", b"a" * 600), file("b", b"b"))

    @given(st.binary(max_size=700))
    def test_what_is_no_archive_is_refused(self, data: bytes) -> None:
        """
        Bytes that are no archive are told as such, and as nothing else.
        """
        with pytest.raises(InvalidArgument):
            tar.scan(io.BytesIO(b"x" + data), limits=LIMITS)

    @given(st.integers(min_value=0, max_value=2600), st.integers(min_value=1, max_value=255))
    def test_a_flipped_byte_never_crashes_the_reader(self, position: int, by: int) -> None:
        """
        A damaged archive is read or refused; nothing else is raised.
        """
        damaged = bytearray(archive_bytes(self.MEMBERS))
        damaged[position] ^= by

        try:
            found = tar.scan(io.BytesIO(damaged), limits=LIMITS)
        except InvalidArgument:
            return

        assert len(found) <= 3
