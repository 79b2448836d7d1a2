import io
import os
import random
import stat
import tarfile
from pathlib import Path

import pytest

from peitho.errors import InvalidArgument
from peitho.formats import tar
from peitho.formats.images import layers
from peitho.formats.tar import ArchiveLimits
from tests.support.archives import Member, archive, directory, file, hardlink, special, symlink

LIMITS = ArchiveLimits()


def layer_of(*members: Member, where: str = "/usr/local/bin") -> bytes:
    """The layer that `ADD` of an archive of these makes."""
    layer = io.BytesIO()
    layers.write(archive(*members), layer, directory=where, limits=LIMITS)
    return layer.getvalue()


def members_of(layer: bytes) -> list[tarfile.TarInfo]:
    """The entries of a layer."""
    with tarfile.open(fileobj=io.BytesIO(layer)) as packed:
        return packed.getmembers()


def owned(member: Member, user: int) -> Member:
    """The same entry, of another owner and time."""
    member[0].uid = member[0].gid = user
    member[0].uname = f"user{user}"
    member[0].mtime = user * 1000
    return member


def test_a_layer_has_the_archive_at_its_directory_with_all_parents() -> None:
    """
    The parents come first, then the entries in order.
    """
    layer = layer_of(directory("."), file("./chaincode", b"elf", mode=0o755))

    assert [
        ("usr", 0o755),
        ("usr/local", 0o755),
        ("usr/local/bin", 0o755),
        ("usr/local/bin/chaincode", 0o755),
    ] == [(member.name, member.mode) for member in members_of(layer)]


def test_a_layer_is_the_same_whatever_time_owner_and_order() -> None:
    """
    Equal contents give equal bytes, and so one digest on every peer.
    """

    def members(user: int) -> list[Member]:
        found = [
            directory("src"),
            file("src/a", b"a" * 700),
            file("src/b", b"b"),
            symlink("src/c", "b"),
            file("src-a", b"-"),
        ]
        return [owned(member, user) for member in found]

    first, second = members(0), members(500)
    random.Random(3).shuffle(second)  # noqa: S311  an order, no secret

    assert first != second
    assert layer_of(*first) == layer_of(*second)


def test_what_is_added_belongs_to_whom_runs_it() -> None:
    """
    Also what the archive has in names alone; the directories above stay root's.
    """
    layer = io.BytesIO()
    packed = archive(directory("."), file("sub/a", b"1", mode=0o600), directory("r", mode=0o555))

    layers.write(packed, layer, directory="/usr/src", limits=LIMITS, user=1_000_680_000)

    assert {
        "usr": (0, 0, 0o755),
        "usr/src": (1_000_680_000, 1_000_680_000, 0o755),
        "usr/src/r": (1_000_680_000, 1_000_680_000, 0o755),
        "usr/src/sub": (1_000_680_000, 1_000_680_000, 0o755),
        "usr/src/sub/a": (1_000_680_000, 1_000_680_000, 0o600),
    } == {each.name: (each.uid, each.gid, each.mode) for each in members_of(layer.getvalue())}


def test_for_a_user_that_nobody_knows_the_group_0_has_the_owners_rights() -> None:
    """
    OpenShift gives each namespace numbers of its own, all of that group.
    """
    layer = io.BytesIO()
    packed = archive(file("a", b"1", mode=0o600), file("sub/b", b"1", mode=0o755))

    layers.write(packed, layer, directory="/src", limits=LIMITS, user=None)

    assert {"src": 0o775, "src/a": 0o660, "src/sub": 0o775, "src/sub/b": 0o775} == {
        each.name: each.mode for each in members_of(layer.getvalue())
    }
    assert {(0, 0)} == {(each.uid, each.gid) for each in members_of(layer.getvalue())}


def test_directories_in_names_alone_are_bounded() -> None:
    """
    A short archive has room for millions.
    """
    deep = [file(f"{n}/{'d/' * 50}f", b"") for n in range(10)]

    for limits in (ArchiveLimits(entries=400), ArchiveLimits(names_bytes=2000)):
        with pytest.raises(InvalidArgument, match=r"than (400 entries|2000 bytes)"):
            layers.write(archive(*deep), io.BytesIO(), directory="/src", limits=limits)


def test_a_layer_differs_with_mode_and_content() -> None:
    """
    What counts for a user counts for the digest.
    """
    layers = {
        layer_of(file("a", b"1")),
        layer_of(file("a", b"2")),
        layer_of(file("a", b"1", mode=0o755)),
        layer_of(file("b", b"1")),
        layer_of(file("a", b"1"), where="/opt"),
    }

    assert 5 == len(layers)


def test_links_are_kept_relative_or_moved_with_their_target() -> None:
    """
    A symbolic link stays as it was; a hard link names the file where it now is.
    """
    layer = layer_of(file("a", b"1"), symlink("b", "a"), hardlink("c", "a"), where="/opt/x/")

    assert {"opt/x/b": "a", "opt/x/c": "opt/x/a"} == {
        member.name: member.linkname for member in members_of(layer) if member.linkname
    }


def test_a_hard_link_to_a_symbolic_link_is_another(tmp_path: Path) -> None:
    """
    As it is in a file system: both have the same words, and neither is followed.
    """
    layer = layer_of(
        file("sub/a", b"1"), symlink("sub/b", "a"), hardlink("sub/c", "sub/b"), where="/opt"
    )

    tar.unpack(io.BytesIO(layer), tmp_path, limits=LIMITS)

    assert ["a", "a"] == [str((tmp_path / "opt/sub" / name).readlink()) for name in "bc"]


def test_a_link_that_is_not_used_may_lead_anywhere() -> None:
    """
    As dockerd has it: in a container it is followed within that.
    """
    out = ["../../../../etc/passwd", "..", "/etc/passwd", "nowhere"]
    names = [f"sub/{number}" for number in range(len(out))]

    layer = layer_of(*map(symlink, names, out), hardlink("h", "sub/1"))

    found = {each.name.removeprefix("usr/local/bin/"): each.linkname for each in members_of(layer)}
    assert dict(zip(names, out, strict=True)) | {"h": ".."} == {
        name: link for name, link in found.items() if link
    }


def test_a_fifo_is_one_in_a_layer(tmp_path: Path) -> None:
    """
    With its mode, and its second name.
    """
    pipe = special("sub/pipe", tarfile.FIFOTYPE, mode=0o640)
    layer = layer_of(pipe, hardlink("same", "sub/pipe"), where="/opt")

    tar.unpack(io.BytesIO(layer), tmp_path, limits=LIMITS)

    status = (tmp_path / "opt/sub/pipe").lstat()
    assert (True, 0o640) == (stat.S_ISFIFO(status.st_mode), stat.S_IMODE(status.st_mode))
    assert (tmp_path / "opt/same").samefile(tmp_path / "opt/sub/pipe")


def test_names_are_bytes(tmp_path: Path) -> None:
    """
    Also those that are no UTF-8: of files, directories and links.
    """
    name = os.fsdecode(b"caf\xe9")
    layer = layer_of(directory(name), file(f"{name}/{name}.js", b"1"), symlink("l", name))

    tar.unpack(io.BytesIO(layer), tmp_path, limits=LIMITS)

    there = tmp_path / "usr/local/bin"
    assert {b"caf\xe9", b"l"} == {os.fsencode(path.name) for path in there.iterdir()}
    assert [b"caf\xe9.js"] == [os.fsencode(path.name) for path in (there / "l").iterdir()]


def test_the_last_of_two_entries_of_a_name_wins() -> None:
    """
    An archive may have a name twice; a layer has it once.
    """
    layer = layer_of(file("a", b"first"), file("./a", b"last!"), where="/opt")

    with tarfile.open(fileobj=io.BytesIO(layer)) as packed:
        content = packed.extractfile("opt/a")
        assert content is not None
        assert b"last!" == content.read()
    assert ["opt", "opt/a"] == [member.name for member in members_of(layer)]


def test_a_layer_is_unpacked_where_the_puller_puts_it(tmp_path: Path) -> None:
    """
    What `write` writes, `unpack` takes.
    """
    layer = layer_of(file("chaincode", b"elf", mode=0o755), hardlink("same", "chaincode"))

    tar.unpack(io.BytesIO(layer), tmp_path, limits=LIMITS)

    assert b"elf" == (tmp_path / "usr/local/bin/chaincode").read_bytes()
    assert (tmp_path / "usr/local/bin/same").samefile(tmp_path / "usr/local/bin/chaincode")


def test_read_files_has_absolute_paths_and_no_directories() -> None:
    """
    The TLS files that a peer uploads to `/`, as it names them.
    """
    packed = archive(
        directory("/etc/hyperledger/fabric"),
        file("/etc/hyperledger/fabric/client.key", b"key"),
        file("etc/hyperledger/fabric/peer.crt", b"crt"),
        compression="gz",
    )

    assert {
        "/etc/hyperledger/fabric/client.key": b"key",
        "/etc/hyperledger/fabric/peer.crt": b"crt",
    } == tar.read_files(packed, limits=LIMITS)


def test_read_files_stops_at_its_limit() -> None:
    """
    Files of a small archive are held in memory, so the limit is what counts.
    """
    with pytest.raises(InvalidArgument, match="more than 1000 bytes"):
        tar.read_files(archive(file("a", bytes(1001))), limits=ArchiveLimits(total_bytes=1000))
