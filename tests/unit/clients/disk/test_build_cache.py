import hashlib
import json
import os
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import structlog.testing
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter

from peitho.clients.disk.build_cache import BuildCache, CacheEntry, KeptBuild
from peitho.clients.disk.sealed import seal
from peitho.errors import StorageUnusable
from tests.support.damage import changed

KEY = "a" * 64
OTHER = "b" * 64


def built(result: bytes = b"binary") -> KeptBuild:
    """The record of a build with that result."""
    digest = hashlib.sha256(result).hexdigest()
    return KeptBuild(digest, "arm64", image="ccenv", seconds=12.5, kept_at=1_700_000_000.0)


BUILD = built()


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


def test_a_build_is_found_by_its_result(cache: BuildCache, root: Path, tmp_path: Path) -> None:
    """
    A record that is damaged hides no other, and stays for whoever uses it.
    """
    cache.keep(KEY, BUILD, made(tmp_path, "one"))
    cache.keep(OTHER, built(b"other"), made(tmp_path, "two", result=b"other"))
    (root / "c").mkdir()
    (root / OTHER / "about.json").write_bytes(b"{")

    assert BUILD == cache.find(BUILD.digest)
    assert cache.find(built(b"other").digest) is None
    assert cache.has(OTHER)
    assert BuildCache(tmp_path / "none").find(BUILD.digest) is None


def test_a_record_is_read_once_to_find_results(
    cache: BuildCache, root: Path, tmp_path: Path
) -> None:
    """
    What takes the place of an entry is read anew, and so is what is found.
    """
    cache.keep(KEY, BUILD, made(tmp_path, "one"))
    cache.keep(OTHER, built(b"other"), made(tmp_path, "two", result=b"other"))
    assert cache.find(built(b"none").digest) is None
    about = root / OTHER / "about.json"
    record = about.read_bytes()
    about.write_bytes((root / KEY / "about.json").read_bytes())

    cache.drop(KEY)
    assert cache.find(BUILD.digest) is None

    about.write_bytes(record)
    assert built(b"other") == cache.find(built(b"other").digest)
    cache.keep(OTHER, BUILD, made(tmp_path, "three"))
    assert BUILD == cache.find(BUILD.digest)
    assert cache.find(built(b"other").digest) is None


def test_what_is_given_is_linked_and_counted_once(cache: BuildCache, tmp_path: Path) -> None:
    """
    It stays with whoever was given it; what is not kept is nothing, each time it is asked for.
    """
    outcomes = Counter("given", "Given.", ["outcome"], registry=CollectorRegistry())
    cache.keep(KEY, BUILD, made(tmp_path, "run"))
    target = tmp_path / "target"

    given_first = cache.give(KEY, target, outcomes)
    cache.drop(KEY)

    assert target / "result" == given_first == cache.give(KEY, target, outcomes)
    assert b"binary" == (target / "result").read_bytes()
    for _ in range(2):
        assert cache.give(OTHER, tmp_path / "none", outcomes) is None
    counted = {
        sample.labels["outcome"]: sample.value
        for metric in outcomes.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    }
    assert {"given": 1.0, "none": 2.0} == counted


def test_what_a_build_downloaded_is_no_result(cache: BuildCache, tmp_path: Path) -> None:
    """
    Its bytes are its command's own: nobody is told that a build put them out.
    """
    downloaded = replace(BUILD, architecture="")
    cache.keep(KEY, downloaded, made(tmp_path, "one"))

    assert cache.find(BUILD.digest) is None


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
    cache.keep(KEY, built(b"another"), made(tmp_path, "later", b"said more", b"another"))
    target = empty(tmp_path, "target")

    assert built(b"another") == cache.use(KEY, target)
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
        with pytest.raises(StorageUnusable):
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
        seal(json.dumps({"digest": "d", "more": 1}).encode()),
        seal(b"{}"),
    ],
)
def test_a_damaged_record_is_set_aside(
    cache: BuildCache, root: Path, tmp_path: Path, record: bytes
) -> None:
    """
    The build is carried out anew, and the log says why.
    """
    cache.keep(KEY, BUILD, made(tmp_path, "run"))
    (root / KEY / "about.json").write_bytes(record)

    with structlog.testing.capture_logs() as logs:
        assert cache.use(KEY, empty(tmp_path, "target")) is None

    assert [("stored file damaged", "build", str(root / KEY))] == [
        (each["event"], each["what"], each["path"]) for each in logs
    ]
    assert not (root / KEY).exists()
    (aside,) = (tmp_path / "damaged").iterdir()
    assert aside.name.endswith(f"-build-{KEY}")
    assert record == (aside / "about.json").read_bytes()
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
def test_an_entry_with_a_file_missing_is_no_entry(tmp_path: Path, missing: str) -> None:
    """
    It is of no use, and would never be listed.
    """
    cache = BuildCache.open(tmp_path / "builds")
    cache.keep(KEY, BUILD, made(tmp_path, "run"))
    (tmp_path / "builds" / KEY / missing).unlink()

    assert cache.use(KEY, empty(tmp_path, "target")) is None
    assert not (tmp_path / "builds" / KEY).exists()


def test_an_entry_of_an_earlier_peitho_is_dropped(
    cache: BuildCache, root: Path, tmp_path: Path
) -> None:
    """
    It has no digest of its log: the next build takes its place, and nothing is told as damaged.
    """
    cache.keep(KEY, BUILD, made(tmp_path, "run"))
    (root / KEY / "about.json").write_text(json.dumps(asdict(BUILD)))

    with structlog.testing.capture_logs() as logs:
        assert cache.use(KEY, empty(tmp_path, "target")) is None

    assert ["kept build has no digests and is dropped"] == [each["event"] for each in logs]
    assert not cache.has(KEY)
    assert not (tmp_path / "damaged").exists()


def test_an_entry_with_a_damaged_record_grows_old(
    cache: BuildCache, root: Path, tmp_path: Path
) -> None:
    """
    It counts, and goes one day, though nobody may ask for it any more.
    """
    cache.keep(KEY, BUILD, made(tmp_path, "run"))
    (root / KEY / "about.json").write_bytes(b"{")
    os.utime(root / KEY, (7.0, 7.0))

    (entry,) = cache.entries()

    assert (KEY, 11, 7.0) == (entry.key, entry.bytes, entry.kept_at)


@given(
    name=st.sampled_from(["log", "result", "about.json"]),
    place=st.floats(0, 1, exclude_max=True),
    flip=st.integers(0, 255),
)
def test_no_changed_byte_is_ever_given_away(name: str, place: float, flip: int) -> None:
    """
    Flipped or cut (0), wherever in whatever file: what is kept beside it is still given.
    """
    with tempfile.TemporaryDirectory() as folder:
        tmp_path = Path(folder)
        cache = BuildCache.open(tmp_path / "builds")
        cache.keep(KEY, BUILD, made(tmp_path, "run"))
        cache.keep(OTHER, BUILD, made(tmp_path, "other"))
        path = tmp_path / "builds" / KEY / name
        path.write_bytes(changed(path.read_bytes(), place, flip))

        target = empty(tmp_path, "target")
        assert cache.use(KEY, target) is None
        assert {} == contents(target)
        assert BUILD == cache.use(OTHER, target)


def test_a_build_that_is_made_anew_takes_the_place_of_a_damaged_one(
    cache: BuildCache, root: Path, tmp_path: Path
) -> None:
    """
    And is given to the next peer.
    """
    cache.keep(KEY, BUILD, made(tmp_path, "run"))
    (root / KEY / "result").write_bytes(b"rotten")
    assert cache.use(KEY, empty(tmp_path, "none")) is None

    cache.keep(KEY, BUILD, made(tmp_path, "again"))

    assert BUILD == cache.use(KEY, empty(tmp_path, "target"))
