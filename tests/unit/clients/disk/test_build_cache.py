import json
import os
import time
from pathlib import Path

import pytest
import structlog.testing

from peitho.clients.disk.build_cache import BuildCache, CacheEntry, KeptBuild

KEY = "a" * 64
OTHER = "b" * 64
BUILD = KeptBuild(
    digest="d" * 64, architecture="arm64", image="ccenv", seconds=12.5, kept_at=1_700_000_000.0
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where builds are kept."""
    return tmp_path / "builds"


@pytest.fixture
def cache(root: Path) -> BuildCache:
    """A cache that has nothing yet."""
    return BuildCache.open(root)


def made(tmp_path: Path, name: str, log: bytes = b"said", result: bytes = b"binary") -> Path:
    """The directory of a run that has succeeded."""
    directory = tmp_path / name
    directory.mkdir()
    (directory / "log").write_bytes(log)
    (directory / "result").write_bytes(result)
    (directory / "upload-1").write_bytes(b"source")
    return directory


def empty(tmp_path: Path, name: str) -> Path:
    """The directory of a run that is to be answered from the cache."""
    directory = tmp_path / name
    directory.mkdir()
    return directory


def contents(directory: Path) -> dict[str, bytes]:
    """The files of a directory."""
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_what_was_kept_is_given_back(cache: BuildCache, tmp_path: Path) -> None:
    """
    Log, result and record, after the run's own files are gone and Peitho has restarted.
    """
    run = made(tmp_path, "run")
    cache.keep(KEY, BUILD, run)
    for path in run.iterdir():
        path.unlink()
    again = BuildCache.open(tmp_path / "builds")
    target = empty(tmp_path, "target")

    assert BUILD == again.use(KEY, target)
    assert {"log": b"said", "result": b"binary"} == contents(target)


def test_what_was_not_kept_is_none(cache: BuildCache, tmp_path: Path) -> None:
    """
    Nothing is linked, nothing is said.
    """
    cache.keep(KEY, BUILD, made(tmp_path, "run"))
    target = empty(tmp_path, "target")

    with structlog.testing.capture_logs() as logs:
        assert cache.use(OTHER, target) is None
    assert {} == contents(target)
    assert [] == logs


def test_a_later_build_takes_the_place_of_an_earlier(cache: BuildCache, tmp_path: Path) -> None:
    """
    Whole: never one's log with the other's result.
    """
    cache.keep(KEY, BUILD, made(tmp_path, "run"))
    cache.keep(KEY, BUILD, made(tmp_path, "later", b"said more", b"another"))
    target = empty(tmp_path, "target")

    assert BUILD == cache.use(KEY, target)
    assert {"log": b"said more", "result": b"another"} == contents(target)
    assert 1 == len(list(cache.entries()))


@pytest.mark.parametrize("missing", ["log", "result"])
def test_an_entry_that_cannot_be_made_whole_is_none(
    cache: BuildCache, root: Path, tmp_path: Path, missing: str
) -> None:
    """
    What was kept before stays, and nothing is left aside.
    """
    cache.keep(OTHER, BUILD, made(tmp_path, "other"))
    half = made(tmp_path, "half")
    (half / missing).unlink()

    for key in (KEY, OTHER):
        with pytest.raises(FileNotFoundError):
            cache.keep(key, BUILD, half)

    assert [OTHER] == [each.key for each in cache.entries()]
    assert cache.use(OTHER, empty(tmp_path, "target")) == BUILD
    assert [] == list((root / ".aside").iterdir())


def test_what_an_earlier_run_left_half_made_is_dropped(root: Path, tmp_path: Path) -> None:
    """
    It is no entry before, and no file after the next start.
    """
    BuildCache.open(root).keep(KEY, BUILD, made(tmp_path, "run"))
    half = root / ".aside" / "tmp123"
    half.mkdir()
    (half / "log").write_bytes(b"x")
    assert [KEY] == [each.key for each in BuildCache(root).entries()]

    cache = BuildCache.open(root)

    assert not half.exists()
    assert [KEY] == [each.key for each in cache.entries()]


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b"{}",
        json.dumps({"digest": "d", "more": 1}).encode(),
    ],
)
def test_a_damaged_record_is_dropped(
    cache: BuildCache, root: Path, tmp_path: Path, record: bytes
) -> None:
    """
    The build is carried out anew, and the log says why.
    """
    cache.keep(KEY, BUILD, made(tmp_path, "run"))
    (root / KEY / "about.json").write_bytes(record)

    with structlog.testing.capture_logs() as logs:
        assert cache.use(KEY, empty(tmp_path, "target")) is None

    assert [("kept build is damaged and dropped", KEY)] == [
        (each["event"], each["key"]) for each in logs
    ]
    assert not (root / KEY).exists()
    assert [] == list((root / ".aside").iterdir())


def test_whoever_uses_an_entry_keeps_its_files(cache: BuildCache, tmp_path: Path) -> None:
    """
    Dropping it takes nothing from anybody, and can be done twice.
    """
    cache.keep(KEY, BUILD, made(tmp_path, "run"))
    target = empty(tmp_path, "target")
    cache.use(KEY, target)

    cache.drop(KEY)
    cache.drop(KEY)

    assert {"log": b"said", "result": b"binary"} == contents(target)
    assert cache.use(KEY, empty(tmp_path, "late")) is None
    assert [] == list(cache.entries())


def test_files_of_an_entry_are_links(cache: BuildCache, root: Path, tmp_path: Path) -> None:
    """
    A large result is on the disk once, however many use it.
    """
    run, target = made(tmp_path, "run"), empty(tmp_path, "target")
    cache.keep(KEY, BUILD, run)
    cache.use(KEY, target)

    assert (target / "result").samefile(run / "result")
    assert 3 == (root / KEY / "result").stat().st_nlink


def test_entries_tell_what_a_sweeper_asks(cache: BuildCache, root: Path, tmp_path: Path) -> None:
    """
    The size of all files, when it was made, and when it was last used.
    """
    cache.keep(KEY, BUILD, made(tmp_path, "run", b"1" * 10, b"2" * 100))
    about = root / KEY / "about.json"
    os.utime(about, (5.0, 5.0))
    size = 110 + about.stat().st_size

    assert [CacheEntry(KEY, size, used_at=5.0, kept_at=BUILD.kept_at)] == list(cache.entries())


def test_a_use_is_noted(cache: BuildCache, root: Path, tmp_path: Path) -> None:
    """
    What is used stays longer; when it was made does not change.
    """
    cache.keep(KEY, BUILD, made(tmp_path, "run"))
    os.utime(root / KEY / "about.json", (5.0, 5.0))
    cache.use(KEY, empty(tmp_path, "target"))

    (entry,) = cache.entries()

    assert time.time() == pytest.approx(entry.used_at, abs=30)
    assert BUILD.kept_at == entry.kept_at


def test_what_is_no_entry_is_passed_over(cache: BuildCache, root: Path, tmp_path: Path) -> None:
    """
    Whatever an operator or a crash has left in the directory.
    """
    cache.keep(KEY, BUILD, made(tmp_path, "run"))
    (root / "lost+found").mkdir()
    (root / "note").write_bytes(b"x")
    for name, record in (
        ("list", b"[]"),
        ("cut", b"{"),
        ("bare", b"{}"),
        ("odd", b'{"kept_at":[]}'),
    ):
        (root / name).mkdir()
        (root / name / "about.json").write_bytes(record)

    assert [KEY] == [each.key for each in cache.entries()]


@pytest.mark.parametrize("missing", ["log", "result", "about.json"])
def test_an_entry_with_a_file_missing_is_dropped(tmp_path: Path, missing: str) -> None:
    """
    It is of no use, and would never be listed.
    """
    cache = BuildCache.open(tmp_path / "builds")
    cache.keep(KEY, BUILD, made(tmp_path, "run"))
    (tmp_path / "builds" / KEY / missing).unlink()

    assert cache.use(KEY, empty(tmp_path, "target")) is None
    assert not (tmp_path / "builds" / KEY).exists()
