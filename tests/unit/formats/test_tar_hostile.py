"""Archives that someone made to do harm: nothing outside the target is ever written or linked."""

import io
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peitho.errors import InvalidArgument
from peitho.formats import tar
from peitho.formats.images import layers
from peitho.formats.tar import ArchiveLimits
from tests.support.archives import Member, archive, directory, file, hardlink, special, symlink

LIMITS = ArchiveLimits(entries=10, total_bytes=10_000, path_bytes=300)

OUTSIDE = b"not yours"

REFUSED: dict[str, tuple[list[Member], str]] = {
    "parent": ([file("../evil")], "'../evil' leaves the target"),
    "parent in the middle": ([file("a/../../evil")], "'a/../../evil' leaves the target"),
    "parent at the end": ([directory("a/..")], "'a/..' leaves the target"),
    "link up": ([symlink("up", "..")], "'up' is a link to '..', which leaves"),
    "link up from below": ([symlink("a/up", "../../x")], "'a/up' is a link"),
    "link up and down again": ([symlink("a", "../target/b")], "'a' is a link"),
    "links that leave together": (
        [directory("d"), symlink("s", "d"), symlink("d/up", ".."), symlink("e", "s/up/../etc")],
        "'e' is a link to 's/up/../etc', which leaves the target by way of other links",
    ),
    "absolute link": ([symlink("abs", "/etc/passwd")], "'abs' is a link to '/etc/passwd'"),
    "empty link": ([symlink("empty", "")], "'empty' is a link to ''"),
    "below a link": ([symlink("a", "b"), file("a/evil")], "'a/evil' lies below the link 'a'"),
    "deep below a link": ([symlink("a", "b"), file("a/b/c/evil")], "below the link 'a'"),
    "link below a link": ([symlink("a", "b"), symlink("a/c", "d")], "below the link 'a'"),
    "hard link to outside": ([hardlink("h", "../outside")], "'h' leaves the target"),
    "character device": ([special("null", tarfile.CHRTYPE)], "'null' is neither a file"),
    "block device": ([special("sda", tarfile.BLKTYPE)], "'sda' is neither a file"),
    "fifo": ([special("pipe", tarfile.FIFOTYPE)], "'pipe' is neither a file"),
    "long name": ([file("n" * 301)], "'nnnn.*' is too long"),
    "many entries": ([file(f"f{n}", b"") for n in range(11)], "more than 10 entries, at 'f10'"),
    "many bytes": ([file("bomb", bytes(10_001))], "more than 10000 bytes, at 'bomb'"),
    "many bytes in all": (
        [file("half", bytes(5_001)), file("other", bytes(5_000))],
        "more than 10000 bytes, at 'other'",
    ),
}

# Whoever reads an archive as it comes cannot know of links that are yet to come, and follows none.
# A link in an image may lead anywhere, and so may an absolute one in an upload: it means the
# container's own root. A fifo is as good as a file.
TAKEN_BY = {
    "link up": ("layer",),
    "link up from below": ("layer",),
    "link up and down again": ("layer",),
    "links that leave together": ("layer", "unpack", "read_files"),
    "absolute link": ("scan", "layer", "unpack"),
    "fifo": ("scan", "layer", "unpack"),
}

CALLS: dict[str, Callable[[io.BytesIO, Path], object]] = {
    "scan": lambda packed, _: tar.scan(packed, limits=LIMITS),
    "read_files": lambda packed, _: tar.read_files(packed, limits=LIMITS),
    "layer": lambda packed, _: layers.write(packed, io.BytesIO(), directory="/usr", limits=LIMITS),
    "unpack": lambda packed, target: tar.unpack(packed, target, limits=LIMITS),
}


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A target directory, with a file beside it that must stay as it is."""
    (tmp_path / "outside").write_bytes(OUTSIDE)
    target = tmp_path / "target"
    target.mkdir()
    return target


def untouched(target: Path) -> bool:
    """Whether beside the target there is only what was there, as it was."""
    beside = {path.name for path in target.parent.iterdir()}
    outside = target.parent / "outside"
    return (
        beside == {"outside", "target"}
        and outside.read_bytes() == OUTSIDE
        and outside.stat().st_nlink == 1
    )


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_archive_is_refused_with_the_name_of_the_entry(
    target: Path, call: str, name: str
) -> None:
    """
    Whoever reads it refuses it, and nothing outside the target has changed.
    """
    members, message = REFUSED[name]
    if call in TAKEN_BY.get(name, ()):
        CALLS[call](archive(*members), target)
    else:
        with pytest.raises(InvalidArgument, match=message):
            CALLS[call](archive(*members), target)

    assert untouched(target)


def test_an_absolute_link_is_kept_as_it_is(target: Path) -> None:
    """
    It means the container's own root: npm 8 and 9 leave such links, and dockerd takes them.
    """
    tar.unpack(archive(symlink("abs", "/etc/passwd")), target, limits=LIMITS)

    assert "/etc/passwd" == str((target / "abs").readlink())
    assert untouched(target)


@pytest.mark.parametrize(("compression", "name"), [("bz2", "bzip2"), ("xz", "xz")])
def test_a_compression_that_no_peer_sends_is_refused_by_its_name(
    compression: str, name: str
) -> None:
    """
    Docker takes them; what they unpack to can be a million times their size.
    """
    with pytest.raises(InvalidArgument, match=f"compressed with {name}: send it plain or with"):
        tar.scan(archive(file("a"), compression=compression), limits=LIMITS)


def test_an_absolute_name_is_taken_from_the_target_down(target: Path) -> None:
    """
    `/etc/evil` is `etc/evil` below the target, as dockerd has it.
    """
    tar.unpack(archive(file("/etc/evil", b"tame")), target, limits=LIMITS)

    assert b"tame" == (target / "etc/evil").read_bytes()
    assert not Path("/etc/evil").exists()
    assert untouched(target)


def test_a_link_planted_by_an_earlier_archive_is_not_followed(target: Path) -> None:
    """
    A link that is there already, wherever it points, is no way out.
    """
    (target / "planted").symlink_to("..")

    with pytest.raises(InvalidArgument, match="'planted' is no directory"):
        tar.unpack(archive(file("planted/evil")), target, limits=LIMITS)

    assert untouched(target)


@pytest.mark.parametrize("link", ["planted/outside", "planted"])
def test_a_hard_link_through_a_planted_link_is_refused(target: Path, link: str) -> None:
    """
    A hard link reaches a file outside neither through a link nor as one.
    """
    (target / "planted").symlink_to("../outside" if link == "planted" else "..")

    with pytest.raises(InvalidArgument):
        tar.unpack(archive(hardlink("h", link)), target, limits=LIMITS)

    assert untouched(target)


def test_a_file_is_written_in_place_of_a_planted_link_not_through_it(target: Path) -> None:
    """
    A link with the name of an entry is replaced; what it pointed to stays.
    """
    (target / "name").symlink_to("../outside")

    tar.unpack(archive(file("name", b"mine")), target, limits=LIMITS)

    assert b"mine" == (target / "name").read_bytes()
    assert untouched(target)


def test_a_hard_link_to_nothing_is_refused(target: Path) -> None:
    """
    A hard link to a file that is not there is told with both names.
    """
    with pytest.raises(InvalidArgument, match="'h' is a link to 'gone', which is no file"):
        tar.unpack(archive(hardlink("h", "gone")), target, limits=LIMITS)


def test_a_bomb_is_refused_before_it_is_unpacked(target: Path) -> None:
    """
    A file that is larger than the limit is not begun.
    """
    bomb = archive(file("ok", b"ok"), file("bomb", bytes(50_000_000)), compression="gz")

    with pytest.raises(InvalidArgument, match="unpacks to more than 10000 bytes"):
        tar.unpack(bomb, target, limits=LIMITS)

    assert ["ok"] == [path.name for path in target.iterdir()]


PARTS = st.sampled_from(["..", ".", "a", "b", ""])
ANY_PATH = st.lists(PARTS, min_size=1, max_size=4).map("/".join)
ANY_MEMBER = st.one_of(
    st.builds(directory, ANY_PATH),
    st.builds(symlink, ANY_PATH, ANY_PATH),
    st.builds(hardlink, ANY_PATH, ANY_PATH),
    st.builds(file, ANY_PATH, st.just(b"evil")),
)


@given(st.lists(ANY_MEMBER, max_size=5))
def test_no_sequence_of_entries_leaves_the_target(
    tmp_path_factory: pytest.TempPathFactory, members: list[Member]
) -> None:
    """
    Whatever names and links an archive has, in whatever order, all of it stays inside.
    """
    top = tmp_path_factory.mktemp("any")
    (top / "outside").write_bytes(OUTSIDE)
    target = top / "target"
    target.mkdir()

    with suppress(InvalidArgument, OSError):  # refused or not: what counts is below
        tar.unpack(archive(*members), target, limits=LIMITS)

    assert untouched(target)
