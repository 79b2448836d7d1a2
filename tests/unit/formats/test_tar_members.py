"""The reader of headers; `test_tar*.py` and the corpus in `tests/conformance` try the rest."""

import io
import tarfile

import pytest

from peitho.errors import InvalidArgument
from peitho.formats import tar_members
from peitho.formats.tar_members import Member
from tests.support.archives import archive, file, symlink
from tests.support.hostile_archives import END, PAX_RECORDS, extension, header

LONG = "/".join(["directory"] * 30)


def read(data: bytes) -> list[Member]:
    return [member for member, _ in tar_members.members(io.BytesIO(data))]


@pytest.mark.parametrize(
    "form",
    [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT],
    ids=["gnu", "pax", "ustar"],
)
def test_names_links_and_sizes_are_read_as_they_were_written(form: int) -> None:
    """
    Whatever the format keeps them in.
    """
    out = io.BytesIO()
    name = LONG if form != tarfile.USTAR_FORMAT else "d" * 90 + "/" + "f" * 90
    link = LONG if form != tarfile.USTAR_FORMAT else "l" * 100
    with tarfile.open(fileobj=out, mode="w", format=form) as target:
        info, content = file(name, b"content", mode=0o751)
        target.addfile(info, io.BytesIO(content))
        target.addfile(symlink("ü", link)[0])

    first, second = read(out.getvalue())

    assert (name, b"0", 0o751, 7) == (first.name, first.type, first.mode, first.size)
    assert ("ü", b"2", link, 0) == (second.name, second.type, second.link, second.size)
    assert b"content" == out.getvalue()[first.offset : first.offset + 7]


def test_a_name_that_is_no_utf8_is_kept_byte_for_byte() -> None:
    """
    As the file system has it.
    """
    (member,) = read(header(b"b\xfc") + END)

    assert b"b\xfc" == member.name.encode("utf-8", "surrogateescape")


def test_a_size_in_base_256_is_read() -> None:
    """
    GNU tar writes sizes from 8 GiB on so; the content is missing here.
    """
    with pytest.raises(InvalidArgument, match="is cut"):
        read(header(size=b"\x80" + bytes(6) + b"\x02" + bytes(4)) + END)


def test_what_git_says_of_an_archive_is_passed_over() -> None:
    """
    `git archive` begins with a header for all members that has its commit.
    """
    commit = extension(b"g", b"52 comment=0123456789012345678901234567890123456789\n")

    assert ["a"] == [member.name for member in read(commit + header() + END)]


@pytest.mark.parametrize(
    "name",
    sorted(name for name in PAX_RECORDS if name.startswith(("no k", "no e", "length", "size"))),
)
def test_a_pax_header_that_is_damaged_is_refused(name: str) -> None:
    """
    Its lengths are digits, within the header, and end at a newline.
    """
    with pytest.raises(InvalidArgument, match="not a whole tar archive"):
        read(extension(b"x", PAX_RECORDS[name]) + header() + END)


@pytest.mark.parametrize("size", [b"-1", b" -17", b"\xff" * 12, b"0x10", b"9"])
def test_a_size_that_is_none_is_refused(size: bytes) -> None:
    """
    Negative ones too, which `tarfile` takes.
    """
    with pytest.raises(InvalidArgument, match="size is no number"):
        read(header(size=size) + END)


def test_a_content_ends_where_it_ends() -> None:
    """
    What follows it in the stream is the next header.
    """
    packed = archive(file("a", b"12345"), file("b", b"x"))

    contents = [content.read(3) + content.read() for _, content in tar_members.members(packed)]

    assert [b"12345", b"x"] == contents
