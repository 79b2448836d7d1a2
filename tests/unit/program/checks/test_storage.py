import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from peitho.program.checks import storage as checked
from peitho.program.checks.storage import storage
from peitho.settings.models import Settings
from tests.support.check_findings import brief


class Usage(NamedTuple):
    """What shutil tells of a disk."""

    total: int
    used: int
    free: int


def settings(directory: Path) -> Settings:
    """With a data directory."""
    return Settings(data_dir=directory)


def test_a_directory_that_is_not_there_yet_will_be_made(tmp_path: Path) -> None:
    """
    Nothing of the trial stays, and it is not made by it.
    """
    found = list(storage(settings(tmp_path / "a/b")))

    assert [("storage", "ok"), ("room", "ok")] == brief(found)
    assert f"where {tmp_path / 'a/b'} will be made" in found[0].said
    assert [] == list(tmp_path.iterdir())


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    """
    With its cause.
    """
    file = tmp_path / "file"
    file.touch()

    found = list(storage(settings(file)))

    assert [("storage", "wrong")] == brief(found)
    assert "Not a directory" in found[0].said
    assert "fsGroup" in found[0].do


def test_little_room_and_slowness_are_warnings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It works so far.
    """
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1, 1, 1 << 20))
    monkeypatch.setattr(checked, "_SLOW_SECONDS", -1.0)

    found = list(storage(settings(tmp_path)))

    assert [("storage", "warning"), ("room", "warning")] == brief(found)
    assert "1 MiB are free" in found[1].said
