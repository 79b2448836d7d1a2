import hashlib
import io
import os
import resource
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from peitho.errors import InvalidArgument, PeithoError
from peitho.formats import tar
from peitho.formats.images import layers
from peitho.formats.tar import ArchiveLimits
from peitho.pod import layer
from tests.support.archives import archive_bytes, directory, file, hardlink, special, symlink

LONG = "d" * 90 + "/" + "e" * 90 + "/" + "f" * 200


def digest_of(content: bytes) -> str:
    """The digest that is asked for."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def unpack(content: bytes, target: Path, *, digest: str = "", at_once: int = 1 << 20) -> None:
    """Unpack a layer that arrives in pieces."""
    arriving = io.BytesIO(content)

    def read_into(buffer: memoryview) -> int:
        return arriving.readinto(buffer[:at_once])

    target.mkdir(exist_ok=True)
    layer.unpack(read_into, digest or digest_of(content), str(target))


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> bytes:
    """The header of an entry without content."""
    header = tarfile.TarInfo(name)
    header.type, header.linkname, header.mode = kind, link, mode
    return header.tobuf(tarfile.PAX_FORMAT)


def made(place: str = "/usr/local/src") -> bytes:
    """A layer of Peitho's own, with all that one can have."""
    source = archive_bytes(
        [
            file("a", b"1" * 3000, mode=0o4755),
            file("read-only", b"", mode=0o400),
            file(LONG, b"long"),
            file("é\udcff", b"no UTF-8"),
            directory("dir", mode=0o555),
            file("dir/b", os.urandom(100_000)),
            symlink("link", "dir/b"),
            symlink("away", "/usr/bin/node"),
            symlink("up", "dir/../a"),
            hardlink("again", "dir/b"),
            special("fifo", tarfile.FIFOTYPE),
        ]
    )
    out = io.BytesIO()
    layers.write(io.BytesIO(source), out, directory=place, limits=ArchiveLimits())
    return out.getvalue()


def tree(root: Path) -> dict[str, tuple[int, int, str]]:
    """All that is below a directory: mode, names of the same file, and content or link."""
    found = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        if path.is_symlink():
            said = str(path.readlink())
        else:
            said = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        links = status.st_nlink if path.is_file() else 0
        found[str(path.relative_to(root))] = (status.st_mode, links, said)
    return found


@pytest.mark.parametrize("at_once", [1 << 20, 7, 512, 4096])
def test_it_is_as_the_reader_of_all_archives_unpacks_it(tmp_path: Path, at_once: int) -> None:
    """
    Modes, links, names of any length and bytes, however the bytes arrive.
    """
    content = made()
    (tmp_path / "expected").mkdir()
    tar.unpack(io.BytesIO(content), tmp_path / "expected", limits=tar.CHECKED)

    unpack(content, tmp_path / "actual", at_once=at_once)

    assert tree(tmp_path / "expected") == tree(tmp_path / "actual")


@pytest.mark.parametrize("place", ["", "/", "/usr/local/bin"])
def test_it_may_belong_anywhere(tmp_path: Path, place: str) -> None:
    """
    Also at the root.
    """
    unpack(made(place), tmp_path / "t")

    assert (tmp_path / "t" / place.strip("/") / "dir/b").is_file()


def test_one_with_another_digest_leaves_nothing(tmp_path: Path) -> None:
    """
    Also one that cannot be read for its damage.
    """
    content = made()
    for damaged in (content[:-1] + b"x", b"x" + content[1:], content[:1000]):
        with pytest.raises(PeithoError, match="the layer is damaged: it is sha256"):
            unpack(damaged, tmp_path / "t", digest=digest_of(content))
        assert [] == list((tmp_path / "t").iterdir())


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        (entry("../evil"), "leaves the target"),
        (entry("a/../../evil"), "leaves the target"),
        (entry("l", tarfile.SYMTYPE, "..") + entry("l/evil"), "is no directory"),
        (entry("l", tarfile.SYMTYPE, "/tmp") + entry("l/evil"), "is no directory"),
        (entry("f") + entry("f/evil"), "is no directory"),
        (entry("f") + entry("f"), "File exists"),
        (entry("d", tarfile.DIRTYPE) + entry("d"), "File exists"),
        (entry("l", tarfile.SYMTYPE, "/tmp") + entry("l", tarfile.DIRTYPE), "not a layer"),
        (entry("h", tarfile.LNKTYPE, "../../etc/passwd"), "leaves the target"),
        (entry("h", tarfile.LNKTYPE, "none"), "no file"),
        (entry("h", tarfile.LNKTYPE, ""), "no file"),
        (entry("d", tarfile.DIRTYPE) + entry("h", tarfile.LNKTYPE, "d"), "no file"),
        (entry("c", tarfile.CHRTYPE), "neither a file"),
        (entry("n" * 300), "not a layer: File name too long"),
        (entry("n" * 300 + "/f"), "is no directory: File name too long"),
        (entry("x")[:-1] + b"x", "a header is damaged"),
        (entry("f")[:100], "it is cut"),
    ],
)
def test_what_no_layer_has_is_refused(tmp_path: Path, entries: bytes, expected: str) -> None:
    """
    The digest says what it is, not that it is good; nothing is written outside, and nothing left.
    """
    with pytest.raises(InvalidArgument, match=expected):
        unpack(entries + bytes(1024 if expected != "it is cut" else 0), tmp_path / "t")

    assert ["t"] == [path.name for path in tmp_path.iterdir()]
    assert [] == list((tmp_path / "t").iterdir())


def test_a_cut_is_no_damage(tmp_path: Path) -> None:
    """
    The error of the connection passes, and what came is gone: it is fetched again.
    """
    (tmp_path / "t").mkdir()
    content = made()
    arriving = io.BytesIO(content[: len(content) // 2])

    def read_into(buffer: memoryview) -> int:
        if count := arriving.readinto(buffer[:4096]):
            return count
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        layer.unpack(read_into, digest_of(content), str(tmp_path / "t"))
    assert [] == list((tmp_path / "t").iterdir())


@pytest.mark.parametrize("spare", range(12))
def test_what_the_volume_does_not_do_is_told_as_that(tmp_path: Path, spare: int) -> None:
    """
    Also where a directory is missing: the layer is as it should be.
    """
    deep = made("/".join("d" for _ in range(150)))
    with (
        few_descriptors(spare),
        pytest.raises(PeithoError, match=r"cannot be written: .*Too many open") as e,
    ):
        unpack(deep, tmp_path / "t")

    assert not isinstance(e.value, InvalidArgument)
    layer.empty(str(tmp_path / "t"))
    assert [] == list((tmp_path / "t").iterdir())


def test_a_directory_is_emptied_however_deep_it_is(tmp_path: Path) -> None:
    """
    Its path is longer than any that the kernel takes, and what a link leads to stays.
    """
    (tmp_path / "kept").mkdir()
    unpack(archive_bytes([file("/".join(["d" * 200] * 200 + ["f"])), file("e/f")]), tmp_path / "t")
    (tmp_path / "t/link").symlink_to(tmp_path / "kept")

    with few_descriptors(3):
        layer.empty(str(tmp_path / "t"))

    assert [] == list((tmp_path / "t").iterdir())
    assert (tmp_path / "kept").exists()


@contextmanager
def few_descriptors(spare: int) -> Iterator[None]:
    """Let this process open so many files more, whatever it has open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(each.name) for each in Path("/proc/self/fd").iterdir())
    taken = [os.open(os.devnull, os.O_RDONLY)]
    while taken[-1] < highest:  # there are holes among those that are open
        taken.append(os.open(os.devnull, os.O_RDONLY))
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken[-1] + 1 + spare, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for each in taken:
            os.close(each)
