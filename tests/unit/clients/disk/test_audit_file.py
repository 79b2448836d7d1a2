import asyncio
import json
import os
from pathlib import Path

import pytest
import structlog.testing

from peitho.clients.disk.audit_file import AuditFile
from peitho.errors import StorageUnusable
from peitho.formats.audit_chain import Verification
from tests.support.observe import until


def problems(*paths: Path) -> list[str]:
    """What is wrong with files, the oldest first."""
    verification = Verification()
    return [
        problem
        for path in paths
        for problem in verification.problems(path.read_bytes().splitlines(keepends=True))
    ]


def numbers(path: Path) -> list[int]:
    """The numbers of a file's lines."""
    return [json.loads(line)["number"] for line in path.read_bytes().splitlines()]


async def test_events_are_appended_and_the_chain_goes_on_after_a_restart(tmp_path: Path) -> None:
    """
    The file is its owner's alone.
    """
    path = tmp_path / "there/is/none/audit.jsonl"
    for _ in range(3):
        trail = AuditFile(path)
        trail.check()
        for _ in range(2):
            trail.keep({"event": "x"})
        assert await trail.write()

    assert [1, 2, 3, 4, 5, 6] == numbers(path)
    assert [] == problems(path)
    assert 0o600 == path.stat().st_mode & 0o777


async def test_what_comes_is_on_the_disk_soon(tmp_path: Path) -> None:
    """
    Nobody waits for it.
    """
    path = tmp_path / "audit.jsonl"
    trail = AuditFile(path)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(trail.run())
        trail.keep({"event": "x"})
        await until(lambda: path.exists() and numbers(path) == [1])
        trail.keep({"event": "y"})
        await until(lambda: numbers(path) == [1, 2])
        task.cancel()


async def test_a_file_may_be_moved_away(tmp_path: Path) -> None:
    """
    As logrotate does: the chain goes on in the next.
    """
    path = tmp_path / "audit.jsonl"
    trail = AuditFile(path)
    for turn in range(3):
        trail.keep({"event": "x"})
        assert await trail.write()
        path.rename(tmp_path / f"audit.jsonl.{turn}")

    assert [] == problems(*(tmp_path / f"audit.jsonl.{turn}" for turn in range(3)))
    assert [3] == numbers(tmp_path / "audit.jsonl.2")


async def test_two_add_to_one_chain(tmp_path: Path) -> None:
    """
    A sweep by hand beside the Peitho that serves.
    """
    path = tmp_path / "audit.jsonl"
    trails = [AuditFile(path), AuditFile(path)]
    for trail in trails * 3:
        trail.keep({"event": "x"})
    for trail in trails * 2:
        trail.keep({"event": "y"})
        assert await trail.write()

    assert list(range(1, 11)) == numbers(path)
    assert [] == problems(path)


async def test_a_line_that_a_crash_cut_is_told_and_ends(tmp_path: Path) -> None:
    """
    What follows it is whole.
    """
    path = tmp_path / "audit.jsonl"
    for _ in range(2):
        trail = AuditFile(path)
        for _ in range(2):
            trail.keep({"event": "x"})
        assert await trail.write()
        os.truncate(path, path.stat().st_size - 10)

    assert ["line 2 is cut or damaged", "line 4 is cut or damaged"] == problems(path)
    assert 4 == len(path.read_bytes().splitlines())


async def test_what_cannot_be_written_is_written_later(tmp_path: Path) -> None:
    """
    It is told once for each try, and nothing comes twice.
    """
    path = tmp_path / "audit.jsonl"
    trail = AuditFile(path)
    path.mkdir()
    with structlog.testing.capture_logs() as told:
        trail.keep({"event": "x"})
        assert not await trail.write()
        trail.keep({"event": "y"})
        assert not await trail.write()
    path.rmdir()
    assert await trail.write()

    assert ["audit not written"] * 2 == [event["event"] for event in told]
    assert ["x", "y"] == [json.loads(line)["event"] for line in path.read_bytes().splitlines()]


def test_a_file_that_cannot_be_written_is_told_at_the_start(tmp_path: Path) -> None:
    """
    With the setting that names it.
    """
    with pytest.raises(StorageUnusable, match=r"The audit file .*: see audit\.file"):
        AuditFile(tmp_path).check()


async def test_a_dash_is_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Beside the log.
    """
    trail = AuditFile(Path("-"))
    trail.check()
    trail.keep({"event": "x"})
    assert await trail.write()

    assert "x" == json.loads(capsys.readouterr().err)["event"]
