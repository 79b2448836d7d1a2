"""Archives that are cut, damaged, or made to exhaust whoever reads them."""

import io
import tarfile
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from peitho.errors import InvalidArgument
from peitho.formats import tar
from peitho.formats.images import layers
from peitho.formats.tar import ArchiveLimits
from tests.support.archives import archive, archive_bytes, directory, file, hardlink, special

LIMITS = ArchiveLimits(entries=100, total_bytes=100_000)
MEMBERS = (directory("src"), file("src/a", b"a" * 600), file("b", b"b"))


@pytest.mark.parametrize(
    ("read", "compression"),
    [
        (lambda data: tar.scan(data, limits=LIMITS), "gz"),
        (lambda data: tar.scan(data, limits=LIMITS), ""),
        (lambda data: tar.scan(data, limits=LIMITS, digests=True), "gz"),
        (lambda data: tar.read_files(data, limits=LIMITS), "gz"),
        (lambda data: layers.write(data, io.BytesIO(), directory="/x", limits=LIMITS), ""),
    ],
    ids=["scan-gzip", "scan", "digests", "read_files", "layer"],
)
def test_a_cut_archive_never_crashes_the_reader(
    read: Callable[[io.BytesIO], object], compression: str
) -> None:
    """
    Its beginnings are read, or refused as InvalidArgument.
    """
    whole = archive_bytes(MEMBERS, compression=compression)
    raised = set()
    # Uncompressed, an archive is blocks of 512 bytes, and 6144 zeros behind them.
    for length in range(0, len(whole), 13 if not compression else 1):
        try:
            read(io.BytesIO(whole[:length]))
        except InvalidArgument:
            pass
        except Exception as error:  # noqa: BLE001  any other is the finding
            raised.add(repr(error))
    assert set() == raised


def test_a_cut_archive_is_refused_or_complete() -> None:
    """
    No beginning of an archive is taken for a whole one with fewer files.
    """
    whole = archive_bytes(MEMBERS, compression="gz")
    seen = set()
    for length in range(10, len(whole)):
        with suppress(InvalidArgument):
            seen.add(tuple(e.name for e in tar.scan(io.BytesIO(whole[:length]), limits=LIMITS)))
    assert seen <= {("src", "src/a", "b")}


def test_a_damaged_header_in_the_middle_is_refused() -> None:
    """
    A damaged entry is no end of the archive.
    """
    damaged = bytearray(archive_bytes([file("a"), file("b")]))
    damaged[1024 + 150] ^= 1  # b's checksum
    with pytest.raises(InvalidArgument):
        tar.scan(io.BytesIO(damaged), limits=LIMITS)


def test_a_cut_file_is_told_by_unpack(tmp_path: Path) -> None:
    """
    The helper and the puller get InvalidArgument.
    """
    cut = archive_bytes([file("a", bytes(5000))])[:2000]
    with pytest.raises(InvalidArgument):
        tar.unpack(io.BytesIO(cut), tmp_path, limits=LIMITS)


def test_a_file_below_a_file_is_refused(tmp_path: Path) -> None:
    """
    An entry whose parent is a file is named.
    """
    with pytest.raises(InvalidArgument):
        tar.unpack(archive(file("a"), file("a/b")), tmp_path, limits=LIMITS)


def test_a_hard_link_may_come_before_its_file_in_the_order_of_names(tmp_path: Path) -> None:
    """
    A layer that was put in order can still be unpacked.
    """
    layer = io.BytesIO()
    packed = archive(file("z", b"z"), hardlink("a", "z"))
    layers.write(packed, layer, directory="/opt", limits=LIMITS)
    layer.seek(0)
    tar.unpack(layer, tmp_path, limits=LIMITS)
    assert b"z" == (tmp_path / "opt/a").read_bytes()


def test_headers_in_headers_are_refused() -> None:
    """
    Extension headers without an entry are no way to exhaust the stack.
    """
    many = archive_bytes([special("x", tarfile.GNUTYPE_LONGNAME) for _ in range(2000)])
    with pytest.raises(InvalidArgument):
        tar.scan(io.BytesIO(many), limits=LIMITS)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_a_huge_header_is_not_held_in_memory(kind: bytes) -> None:
    """
    A name is as long as the limit, whatever its header says.
    """
    info, _ = special("././@LongLink", kind)
    content = b"n" * 50_000_000
    info.size = len(content)
    bomb = archive((info, content), file("a"), compression="gz")
    tracemalloc.start()
    try:
        with pytest.raises(InvalidArgument):
            tar.scan(bomb, limits=LIMITS)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_a_file_without_a_name_is_refused() -> None:
    """
    Only a directory can be the root.
    """
    with pytest.raises(InvalidArgument):
        tar.read_files(archive(file("./", b"x")), limits=LIMITS)


def test_what_is_nested_too_deep_is_refused() -> None:
    """
    No source tree has 200 directories in each other.
    """
    with pytest.raises(InvalidArgument, match="is nested too deep"):
        tar.scan(archive(file("/".join("d" * 201))), limits=LIMITS)
