import json
import time
from pathlib import Path

import pytest
import structlog.testing

from peitho.clients.disk.storage import Storage
from peitho.core.images.usage import ImageUsage

# The clock of usage goes steadily on from the time of day at its start.
_CLOCKS_APART_SECONDS = 0.01


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """A data directory."""
    return Storage.open(tmp_path)


@pytest.fixture
def usage(storage: Storage) -> ImageUsage:
    """Of a Peitho that was never called."""
    return ImageUsage(storage)


def let_the_clock_move() -> None:
    """Return once it is later than before, by the time of day."""
    before = time.time()
    while time.time() == before:
        pass


def test_an_image_that_nobody_used_is_as_old_as_it_is(storage: Storage) -> None:
    """
    One from before there were notes, for instance; its peer may have been seen until they began.
    """
    before = time.time()

    usage = ImageUsage(storage)

    assert 7.0 == usage.used_at("mycc", default=7.0)
    assert before <= usage.seen_at("mycc", default=7.0) <= time.time()


@pytest.mark.parametrize(("gap", "is_kept"), [(3500, True), (3700, False)])
def test_a_gap_in_the_notes_makes_all_images_seen_after_it(
    storage: Storage, gap: float, *, is_kept: bool
) -> None:
    """
    While Peitho was away no peer could be seen; a restart is no gap.
    """
    began = time.time()
    kept = {"since": 5.0, "until": began - gap}
    content = {"kept": kept, "peers": {"10.0.0.1": 8.0}, "images": {"mycc": ["10.0.0.1", 6.0]}}
    storage.save_file("usage.json", json.dumps(content).encode())

    usage = ImageUsage(storage)

    assert 6.0 == usage.used_at("mycc", default=0)
    assert is_kept == (8.0 == usage.seen_at("mycc", default=0))
    assert is_kept == (5.0 == usage.seen_at("other", default=0))
    assert is_kept == (usage.seen_at("mycc", default=0) < began)


async def test_notes_are_kept_without_a_gap_over_restarts(storage: Storage) -> None:
    """
    An image that nobody used since they began is older at each.
    """
    usage = ImageUsage(storage)
    began = usage.seen_at("mycc", default=0)
    await usage.save(set())

    assert began == ImageUsage(storage).seen_at("mycc", default=0)


async def test_what_was_noted_outlives_a_restart(usage: ImageUsage, storage: Storage) -> None:
    """
    To the same second, once it was saved; what was not is lost.
    """
    with usage.serving("10.0.0.1"):
        usage.touch("mycc", "10.0.0.1")
    await usage.save({"mycc"})
    usage.touch("later", "10.0.0.1")

    again = ImageUsage(storage)

    assert usage.used_at("mycc", default=0) == again.used_at("mycc", default=0) > 0
    assert usage.seen_at("mycc", default=0) == again.seen_at("mycc", default=0) > 0
    assert 0 == again.used_at("later", default=0)


def test_a_peer_is_seen_by_whatever_it_asks(usage: ImageUsage) -> None:
    """
    All its images count as seen then, and none of another peer's; none is used by it.
    """
    usage.touch("mine", "10.0.0.1")
    usage.touch("other", "10.0.0.2")
    used = usage.used_at("mine", default=0)
    let_the_clock_move()

    with usage.serving("10.0.0.1"):
        pass

    assert used == usage.used_at("mine", default=0) < usage.seen_at("mine", default=0)
    assert usage.used_at("other", default=0) == usage.seen_at("other", default=0)


def test_an_open_request_keeps_its_peer_seen(usage: ImageUsage) -> None:
    """
    A wait for chaincode lasts for months; with the last of a peer's requests that is over.
    """
    usage.touch("mycc", "10.0.0.1")
    with usage.serving("10.0.0.1"):
        with usage.serving("10.0.0.1"):
            pass
        later = time.time() - _CLOCKS_APART_SECONDS
        assert later <= usage.seen_at("mycc", default=0)

    seen = usage.seen_at("mycc", default=0)
    assert later <= seen <= time.time() + _CLOCKS_APART_SECONDS
    let_the_clock_move()
    assert seen == usage.seen_at("mycc", default=0)


def test_a_request_that_fails_is_over(usage: ImageUsage) -> None:
    """
    Its peer is not taken for there for ever.
    """
    usage.touch("mycc", "10.0.0.1")
    with pytest.raises(TimeoutError), usage.serving("10.0.0.1"):
        raise TimeoutError

    seen = usage.seen_at("mycc", default=0)
    let_the_clock_move()
    assert seen == usage.seen_at("mycc", default=0)


async def test_a_peer_that_waits_while_all_is_saved_was_there_then(
    usage: ImageUsage, storage: Storage
) -> None:
    """
    A crash after it does not make its images older than that.
    """
    usage.touch("mycc", "10.0.0.1")
    with usage.serving("10.0.0.1"):
        before = usage.now()
        await usage.save({"mycc"})

    assert before <= ImageUsage(storage).seen_at("mycc", default=0)


async def test_an_image_that_is_gone_is_forgotten_and_its_peer_with_it(
    usage: ImageUsage, storage: Storage
) -> None:
    """
    The file does not grow with every address that ever called.
    """
    for peer in ("10.0.0.1", "10.0.0.2"):
        with usage.serving(peer):
            usage.touch(f"of-{peer}", peer)

    await usage.save({"of-10.0.0.2", "never used"})

    assert 0 == usage.used_at("of-10.0.0.1", default=0)
    kept = json.loads(storage.read_file("usage.json") or b"")
    assert (["10.0.0.2"], ["of-10.0.0.2"]) == (list(kept["peers"]), list(kept["images"]))


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"\xff\xfe\x00",
        b"null",
        b"[]",
        b'{"peers": []}',
        b'{"peers": {"10.0.0.1": "then"}}',
        b'{"images": {"mycc": 1}}',
        b'{"images": {"mycc": ["10.0.0.1"]}}',
        b'{"images": {"mycc": ["10.0.0.1", null]}}',
        b'{"kept": {"since": 0}}',
    ],
)
async def test_a_damaged_file_is_forgotten_and_told(storage: Storage, content: bytes) -> None:
    """
    Nothing goes too early for it, and the next save mends it.
    """
    storage.save_file("usage.json", content)
    before = time.time()

    with structlog.testing.capture_logs() as logs:
        usage = ImageUsage(storage)

    assert [("warning", "usage of images is damaged and forgotten")] == [
        (each["log_level"], each["event"]) for each in logs
    ]
    assert 7.0 == usage.used_at("mycc", default=7.0)
    assert before <= usage.seen_at("mycc", default=7.0)
    usage.touch("mycc", "10.0.0.1")
    await usage.save({"mycc"})
    assert usage.used_at("mycc", default=0) == ImageUsage(storage).used_at("mycc", default=0)
