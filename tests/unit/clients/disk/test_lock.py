import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog.testing

from peitho.clients.disk.lock import locked
from peitho.errors import Conflict, StorageUnusable

HOLD = """
import sys, time
from pathlib import Path
from peitho.clients.disk.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_peitho_is_told_who_serves(tmp_path: Path) -> None:
    """
    And where; after the first has gone it may.
    """
    with (
        locked(tmp_path / "data"),
        pytest.raises(Conflict, match=f"Another Peitho serves from {tmp_path}/data: stop it first"),
        locked(tmp_path / "data"),
    ):
        pass

    with locked(tmp_path / "data"):
        pass


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    """
    However it ended.
    """
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert b"held\n" == other.stdout.readline()
        with pytest.raises(Conflict), locked(tmp_path):
            pass
        other.kill()

    with locked(tmp_path):
        pass


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """
    With its cause.
    """
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(StorageUnusable, match="Not a directory"), locked(tmp_path / "file/data"):
        pass


def test_without_locks_peitho_serves_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Some network file systems have none.
    """

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with structlog.testing.capture_logs() as logs, locked(tmp_path):
        pass

    assert ["data directory not locked"] == [each["event"] for each in logs]


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir])
def test_what_is_no_file_is_told(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """
    Nobody waits for whoever would read a FIFO.
    """
    make(tmp_path / "lock")

    with pytest.raises(StorageUnusable, match="cannot be used"), locked(tmp_path):
        pass
