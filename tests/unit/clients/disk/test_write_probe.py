import asyncio
import shutil
import threading
from pathlib import Path

from peitho.clients.disk.storage import Storage
from peitho.clients.disk.write_probe import WriteProbe
from peitho.errors import StorageFull

# A disk that others write to as well takes its time for one file.
LONG_SECONDS = 50


class Tried(Storage):
    """A data directory that counts how often it was tried, and may hang."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.tries = 0
        self.begun = threading.Event()
        self.free = threading.Event()
        self.free.set()

    def try_writing(self) -> None:
        """Count."""
        self.tries += 1
        self.begun.set()
        assert self.free.wait(LONG_SECONDS)
        super().try_writing()


async def test_a_directory_that_can_be_written_has_no_cause(tmp_path: Path) -> None:
    """
    Many that ask in one moment are one try.
    """
    storage = Tried(tmp_path)
    Storage.open(tmp_path)
    probe = WriteProbe(storage)

    async with asyncio.TaskGroup() as group:
        answers = [group.create_task(probe.cause()) for _ in range(5)]

    assert [""] * 5 == [each.result() for each in answers]
    assert "" == await probe.cause()
    assert 1 == storage.tries


async def test_the_cause_is_told_and_looked_for_again(tmp_path: Path) -> None:
    """
    Once the directory is back, it is good again.
    """
    Storage.open(tmp_path / "data")
    probe = WriteProbe(Storage(tmp_path / "data"), pause_seconds=0, wait_seconds=LONG_SECONDS)
    shutil.rmtree(tmp_path / "data")

    assert (await probe.cause()).startswith("The data directory cannot be used (No such file")

    Storage.open(tmp_path / "data")
    assert "" == await probe.cause()


async def test_a_full_disk_is_a_cause(tmp_path: Path) -> None:
    """
    No build could be kept.
    """

    class Full(Storage):
        def try_writing(self) -> None:
            raise StorageFull("The data directory is full")

    probe = WriteProbe(Full(tmp_path), wait_seconds=LONG_SECONDS)
    assert "The data directory is full" == await probe.cause()


async def test_a_volume_that_hangs_holds_nobody_up(tmp_path: Path) -> None:
    """
    Nor is it tried a second time meanwhile.
    """
    Storage.open(tmp_path)
    storage = Tried(tmp_path)
    storage.free.clear()
    probe = WriteProbe(storage, pause_seconds=0, wait_seconds=0.01, patience_seconds=0)
    try:
        for _ in range(3):
            assert "The data directory does not answer: see to its volume" == await probe.cause()
        # On a busy machine its thread may not have begun by then.
        assert await asyncio.to_thread(storage.begun.wait, LONG_SECONDS)
        assert 1 == storage.tries
    finally:
        storage.free.set()


async def test_a_volume_that_is_slow_is_as_it_was(tmp_path: Path) -> None:
    """
    A large layer may be on its way to the disk.
    """
    storage = Tried(tmp_path / "data")
    probe = WriteProbe(storage, pause_seconds=0, wait_seconds=0.01)
    told = await told_by(probe)
    assert told.startswith("The data directory cannot be used")
    storage.free.clear()
    try:
        assert told == await probe.cause()
        Storage.open(tmp_path / "data")
        assert told == await probe.cause()
    finally:
        storage.free.set()

    async with asyncio.timeout(LONG_SECONDS):
        while await probe.cause():
            pass


async def told_by(probe: WriteProbe) -> str:
    """The first cause that a probe tells, however long its try takes."""
    async with asyncio.timeout(LONG_SECONDS):
        while not (cause := await probe.cause()):
            pass
    return cause
