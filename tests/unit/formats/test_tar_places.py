import tarfile

import pytest

from peitho.errors import InvalidArgument
from peitho.formats.tar import ArchiveLimits
from peitho.formats.tar_places import places
from tests.support.archives import Member, archive, directory, file, hardlink, special, symlink

LIMITS = ArchiveLimits()


def placed(*members: Member, limits: ArchiveLimits = LIMITS) -> dict[str, str]:
    """Where the entries of an archive lie: the kind of each, and where a link leads."""
    found = places(archive(*members), limits=limits)
    assert all(name == each.entry.name for name, each in found.items())
    return {
        name: f"{each.entry.kind} {each.entry.link}".strip() for name, each in found.items() if name
    }


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ([file("a/b/c")], {"a": "dir", "a/b": "dir", "a/b/c": "file"}),
        (
            [directory("d"), symlink("l", "d"), file("l/x"), file("l/new/y"), file("l/z")],
            {
                "d": "dir",
                "l": "symlink d",
                "d/x": "file",
                "d/z": "file",
                "d/new": "dir",
                "d/new/y": "file",
            },
        ),
        (
            [file("d/e/a"), symlink("s/up", "../d"), symlink("m", "s/up/e/."), file("m/x")],
            {
                "d": "dir",
                "d/e": "dir",
                "d/e/a": "file",
                "s": "dir",
                "s/up": "symlink ../d",
                "m": "symlink s/up/e/.",
                "d/e/x": "file",
            },
        ),
        (
            [file("d/a"), symlink("l", "d"), hardlink("h", "l/a"), hardlink("l/i", "d/a")],
            {
                "d": "dir",
                "d/a": "file",
                "l": "symlink d",
                "h": "hardlink d/a",
                "d/i": "hardlink d/a",
            },
        ),
        ([file("d/a"), file("d")], {"d": "file"}),
        (
            [file("d/e/a"), symlink("d", "x"), directory("d"), file("d/b")],
            {"d": "dir", "d/b": "file"},
        ),
        ([file("a"), directory("a"), file("a/b")], {"a": "dir", "a/b": "file"}),
        (
            [directory("d"), symlink("l", "d"), file("l/x"), directory("l"), file("l/y")],
            {"d": "dir", "d/x": "file", "l": "dir", "l/y": "file"},
        ),
        ([special("p", tarfile.FIFOTYPE), hardlink("q", "p")], {"p": "fifo", "q": "hardlink p"}),
    ],
)
def test_entries_lie_where_dockerd_puts_them(
    members: list[Member], expected: dict[str, str]
) -> None:
    """
    Below links that lead to directories of the archive, and in the place of what was there.
    """
    assert expected == placed(*members)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ([symlink("l", "/tmp"), file("l/x")], "'l/x' lies below the link 'l'"),
        ([symlink("l", ".."), file("l/x")], "'l/x' lies below the link 'l'"),
        ([symlink("a/l", "../../b"), file("a/l/x")], "'a/l/x' lies below the link 'a/l'"),
        ([symlink("l", "none"), file("l/x")], "'l/x' lies below the link 'l'"),
        ([file("f"), symlink("l", "f"), file("l/x")], "'l/x' lies below the link 'l'"),
        ([symlink("l", "l"), file("l/x")], "'l/x' lies below the link 'l'"),
        (
            [directory("d"), symlink("d/up", ".."), symlink("e", "d/up/.."), file("e/a/x")],
            "'e/a/x' lies below the link 'e'",
        ),
        ([file("f"), file("f/x")], "'f/x' lies below the file 'f'"),
    ],
)
def test_what_would_leave_the_target_by_a_link_is_refused(
    members: list[Member], expected: str
) -> None:
    """
    And what lies below nothing.
    """
    with pytest.raises(InvalidArgument, match=expected):
        placed(*members)


def test_links_make_no_path_longer_than_it_may_be() -> None:
    """
    Each doubles the depth.
    """
    deep = [file(f"{'d/' * 150}a"), symlink("l", "d/" * 150), file(f"l/{'e/' * 100}x")]

    with pytest.raises(InvalidArgument, match="nested too deep"):
        placed(*deep)


def test_following_links_takes_little() -> None:
    """
    Thousands of entries below long chains of links are refused after some work.
    """
    chain = [directory("d"), *(symlink(f"l{n}", f"l{n - 1}/././.") for n in range(1, 30))]
    start = symlink("l0", "./" * 1000 + "d")
    entries = [file(f"l29/{n}/x", b"") for n in range(3000)]

    with pytest.raises(InvalidArgument, match="links are more than can be followed"):
        placed(start, *chain, *entries)


def test_links_of_many_parts_that_lead_nowhere_take_little() -> None:
    """
    Each part counts, walked or not.
    """
    link = symlink("l", "none/" + "a/" * 2000)
    hard = [hardlink(f"h{n}", "l/x") for n in range(200)]

    with pytest.raises(InvalidArgument, match="links are more than can be followed"):
        placed(link, *hard)
