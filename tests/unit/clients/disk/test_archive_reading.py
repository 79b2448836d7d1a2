import asyncio
import threading
from pathlib import Path

import pytest

from peitho.clients.disk.archive_reading import ArchiveReading, Reading, Stopped
from peitho.errors import StorageUnusable


async def test_what_is_done_is_given_back(tmp_path: Path) -> None:
    """
    With what was read, in other threads.
    """
    (tmp_path / "archive").write_bytes(b"archive")

    def work(reading: Reading) -> tuple[bytes, bool]:
        with reading.open(tmp_path / "archive") as file:
            return file.read(), threading.current_thread() is threading.main_thread()

    assert (b"archive", False) == await ArchiveReading().run(work)


async def test_errors_are_those_of_the_work() -> None:
    """
    Whatever they are.
    """
    with pytest.raises(ZeroDivisionError):
        await ArchiveReading().run(lambda _: 1 // 0)


async def test_what_the_disk_does_not_do_is_told_as_that(tmp_path: Path) -> None:
    """
    And not as damage of the archive.
    """
    with pytest.raises(StorageUnusable, match=r"cannot be used \(No such file"):
        await ArchiveReading().run(lambda reading: reading.open(tmp_path / "none"))


async def test_six_whose_callers_hung_up_keep_nobody_waiting(tmp_path: Path) -> None:
    """
    Each would go on for ever; the seventh is read as soon as they are gone.
    """
    (tmp_path / "archive").write_bytes(bytes(1024))
    archives, ended = ArchiveReading(), []

    def endless(reading: Reading) -> None:
        try:
            with reading.open(tmp_path / "archive") as file:
                while True:
                    file.seek(0)
                    file.read(200_000)
        except Stopped:
            ended.append(reading)
            raise

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(archives.run(endless)) for _ in range(6)]
        await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
    async with asyncio.timeout(10):
        assert 7 == await archives.run(lambda _: 7)

    assert 2 == len(ended)
