import dataclasses
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peitho.formats import tar
from peitho.formats.docker import build_key
from peitho.formats.records import ContainerSpec, HostConfig
from peitho.formats.tar import CHECKED, TarEntry
from tests.support.archives import Member, archive_bytes, directory, file, symlink

SPEC = ContainerSpec(
    image="ccenv:2.5",
    command=("go", "build"),
    entrypoint=("/bin/sh",),
    env=("A=1", "B=2"),
    working_directory="/chaincode",
)
UPLOADS = [("/chaincode/input", "tree-1"), ("/chaincode/vendor", "tree-2")]

ENTRIES = st.lists(
    st.builds(
        TarEntry,
        name=st.text(min_size=1, max_size=5),
        kind=st.sampled_from(["file", "dir"]),
        mode=st.sampled_from([0o644, 0o755]),
        size=st.just(1),
        sha256=st.sampled_from(["", "aa", "bb"]),
    ),
    unique_by=lambda entry: entry.name,
    max_size=8,
)


def tree(*members: Member, compression: str = "") -> str:
    """The digest of an archive of these entries, read as a peer's upload is."""
    body = io.BytesIO(archive_bytes(members, compression=compression))
    return build_key.tree(tar.scan(body, limits=CHECKED, digests=True))


def touched(member: Member) -> Member:
    """The same entry, of another owner and another time."""
    info, content = member
    info.mtime, info.uid, info.gid, info.uname, info.gname = 1_700_000_000, 7, 8, "peer", "org"
    return info, content


class TestTrees:
    def test_times_owners_and_compression_do_not_count(self) -> None:
        """
        Each peer packs the same source anew.
        """
        plain = tree(directory("src"), file("src/a.go", b"package a"))

        assert plain == tree(
            touched(directory("src")), touched(file("src/a.go", b"package a")), compression="gz"
        )

    @pytest.mark.parametrize(
        "other",
        [
            file("src/b.go", b"package a"),
            file("src/a.go", b"package b"),
            file("src/a.go", b"package a", mode=0o755),
            symlink("src/a.go", "package a"),
            directory("src/a.go"),
        ],
        ids=["path", "content", "mode", "link", "kind"],
    )
    def test_what_a_compiler_could_see_counts(self, other: Member) -> None:
        """
        Path, content, mode, and what kind of entry it is.
        """
        assert tree(file("src/a.go", b"package a")) != tree(other)

    def test_where_a_link_leads_counts(self) -> None:
        """
        It is read through.
        """
        files = (file("a"), file("b"))

        assert tree(*files, symlink("c", "a")) != tree(*files, symlink("c", "b"))

    def test_one_file_more_counts(self) -> None:
        """
        Also an empty one.
        """
        assert tree(file("a")) != tree(file("a"), file("b", b""))
        assert tree() != tree(file("b", b""))

    @given(ENTRIES.flatmap(lambda drawn: st.tuples(st.just(drawn), st.permutations(drawn))))
    def test_the_order_does_not_count(self, orders: tuple[list[TarEntry], list[TarEntry]]) -> None:
        """
        Whatever order a peer's walk of its directories has.
        """
        one, other = orders

        assert build_key.tree(one) == build_key.tree(other)

    @given(left=ENTRIES, right=ENTRIES)
    def test_two_trees_are_equal_only_if_their_entries_are(
        self, left: list[TarEntry], right: list[TarEntry]
    ) -> None:
        """
        No two names and contents run together into the same text.
        """
        same = {entry.name: entry for entry in left} == {entry.name: entry for entry in right}

        assert same == (build_key.tree(left) == build_key.tree(right))

    def test_the_order_counts_for_a_path_that_is_there_twice(self) -> None:
        """
        The later one wins when it is unpacked.
        """
        first, second = file("a", b"1"), file("a", b"2")

        assert tree(first, second) != tree(second, first)


class TestKeys:
    @pytest.mark.parametrize(
        "change",
        [
            {"image": "ccenv:2.4"},
            {"command": ("go build",)},
            {"command": ("go",), "entrypoint": ("/bin/sh", "build")},
            {"entrypoint": ()},
            {"env": ("A=1", "B=3")},
            {"env": ("B=2", "A=1")},
            {"working_directory": "/"},
        ],
        ids="-".join,
    )
    def test_what_is_asked_for_counts(self, change: dict[str, Any]) -> None:
        """
        Image, command, variables and directory, each by itself.
        """
        other = dataclasses.replace(SPEC, **change)

        assert build_key.build_key(SPEC, UPLOADS) != build_key.build_key(other, UPLOADS)

    @pytest.mark.parametrize(
        "uploads",
        [
            [],
            UPLOADS[:1],
            [("/chaincode", "tree-1"), UPLOADS[1]],
            [("/chaincode/input", "tree-3"), UPLOADS[1]],
            UPLOADS[::-1],
        ],
        ids=["none", "fewer", "elsewhere", "others", "order"],
    )
    def test_what_was_uploaded_counts(self, uploads: list[tuple[str, str]]) -> None:
        """
        What, where to, and in which order: a later archive is unpacked over an earlier.
        """
        assert build_key.build_key(SPEC, UPLOADS) != build_key.build_key(SPEC, uploads)

    def test_an_equal_build_has_an_equal_key_that_is_a_name(self) -> None:
        """
        How much memory it may take changes nothing of what it makes.
        """
        equal = dataclasses.replace(SPEC, host=HostConfig(memory_bytes=1))
        key = build_key.build_key(SPEC, UPLOADS)

        assert key == build_key.build_key(equal, list(UPLOADS))
        assert 64 == len(key)
        assert int(key, 16)

    def test_what_the_operator_changes_makes_another_build(self) -> None:
        """
        Another image in the builder's place, or another variable for it.
        """
        assert build_key.build_key(SPEC, UPLOADS) != build_key.build_key(
            SPEC, UPLOADS, decided=[[["a", "b"]], {}]
        )


@pytest.mark.parametrize(
    ("command", "uploads", "is_repeatable"),
    [
        (("go", "build"), UPLOADS, True),
        (("go", "version"), [], True),
        (("date",), [], False),
        ((), [], False),
    ],
)
def test_a_compile_and_a_probe_are_repeatable(
    command: tuple[str, ...], uploads: list[tuple[str, str]], *, is_repeatable: bool
) -> None:
    """
    What else is run may say something else the next time.
    """
    spec = dataclasses.replace(SPEC, command=command)

    assert is_repeatable == build_key.is_repeatable(spec, uploads)
