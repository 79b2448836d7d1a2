from pathlib import Path

import pytest
import structlog.testing

from peitho.clients.disk.damaged import DamagedFiles


def broken(tmp_path: Path, name: str, size: int = 10) -> Path:
    """A file that is to be set aside."""
    path = tmp_path / name
    path.write_bytes(b"x" * size)
    return path


def names(root: Path) -> list[str]:
    """What is kept, the oldest first, without the time."""
    return [path.name.partition("-")[2] for path in sorted(root.iterdir())]


def test_the_name_tells_what_it_was(tmp_path: Path) -> None:
    """
    The log tells where it is now.
    """
    with structlog.testing.capture_logs() as logs:
        DamagedFiles(tmp_path / "damaged").put(broken(tmp_path, "abc"), kind="layer", cause="rot")

    assert ["layer-abc"] == names(tmp_path / "damaged")
    assert not (tmp_path / "abc").exists()
    (kept,) = (tmp_path / "damaged").iterdir()
    assert [
        {
            "event": "stored file damaged",
            "log_level": "error",
            "what": "layer",
            "path": str(tmp_path / "abc"),
            "cause": "rot",
            "kept_as": str(kept),
        }
    ] == logs


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """
    However often a file of the same name is damaged; nor is a directory.
    """
    damaged = DamagedFiles(tmp_path / "damaged")
    for _ in range(20):
        damaged.put(broken(tmp_path, "abc"), kind="layer", cause="")
    (tmp_path / "entry").mkdir()
    damaged.put(tmp_path / "entry", kind="build", cause="")

    assert [*["layer-abc"] * 20, "build-entry"] == [
        name.rstrip("+") for name in names(tmp_path / "damaged")
    ]


def test_the_oldest_go_when_there_are_too_many(tmp_path: Path) -> None:
    """
    Files and directories alike.
    """
    damaged = DamagedFiles(tmp_path / "damaged", most=2)
    (tmp_path / "1").mkdir()
    broken(tmp_path / "1", "result")
    damaged.put(tmp_path / "1", kind="build", cause="")
    for name in ("2", "3", "4"):
        damaged.put(broken(tmp_path, name), kind="layer", cause="")

    assert ["layer-3", "layer-4"] == names(tmp_path / "damaged")


def test_the_oldest_go_when_they_are_too_large(tmp_path: Path) -> None:
    """
    The latest stays, whatever its size.
    """
    damaged = DamagedFiles(tmp_path / "damaged", most_bytes=25)
    for name in ("1", "2", "3"):
        damaged.put(broken(tmp_path, name), kind="layer", cause="")
    assert ["layer-2", "layer-3"] == names(tmp_path / "damaged")

    damaged.put(broken(tmp_path, "4", size=30), kind="layer", cause="")
    assert ["layer-4"] == names(tmp_path / "damaged")


@pytest.mark.parametrize("missing", ["file", "root"])
def test_what_cannot_be_moved_is_told_all_the_same(tmp_path: Path, missing: str) -> None:
    """
    Nobody who asked for the file is harmed by it.
    """
    path = broken(tmp_path, "abc")
    if missing == "file":
        path.unlink()
    root = tmp_path / ("damaged" if missing == "file" else "gone/damaged")

    with structlog.testing.capture_logs() as logs:
        DamagedFiles(root).put(path, kind="layer", cause="rot")

    assert logs[0]["kept_as"].startswith("not moved: ")
