"""Processes that stay when the one that started them ends: each has a pid file and a log."""

import os
import signal
import time
from pathlib import Path

_STOP_SECONDS = 20.0


class Processes:
    """Those of one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def launch(self, name: str, command: list[str]) -> None:
        """
        Start a process.

        Not by `subprocess.Popen`, which warns of every process that nobody waits for.
        """
        path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"  # noqa: TID251
        log = str(self._folder / "log" / f"{name}.log")
        append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        pid = os.posix_spawn(
            "/usr/bin/env",
            ["env", f"--chdir={self._folder}", *command],
            os.environ | {"PATH": path},  # noqa: TID251
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, log, append, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
                # Such as the lock that whoever started us holds for as long as we run.
                *((os.POSIX_SPAWN_CLOSE, each) for each in _inherited()),
            ],
            setsid=True,
        )
        (self._folder / f"{name}.pid").write_text(f"{pid} {_started(pid)}")

    def stop(self, name: str) -> None:
        """End the process of a pid file, and wait until it is gone: the next one wants its port."""
        pid = self.pid(name)
        if pid:
            os.kill(pid, signal.SIGTERM)
            end = time.monotonic() + _STOP_SECONDS
            while self.pid(name):
                if time.monotonic() > end:
                    os.kill(pid, signal.SIGKILL)
                time.sleep(0.05)
        (self._folder / f"{name}.pid").unlink(missing_ok=True)

    def pid(self, name: str) -> int:
        """The pid of a process that we started, or 0; one that another has by now is not its."""
        try:
            pid, started = (self._folder / f"{name}.pid").read_text().split()
        except (FileNotFoundError, ValueError):
            return 0
        return int(pid) if _started(int(pid)) == started else 0


def _inherited() -> list[int]:
    """The handles that a process we start would have of us, beside the first three."""
    handles = [each for each in Path("/proc/self/fd").iterdir() if each.exists()]
    return [number for each in handles if (number := int(each.name)) > 2]


def _started(pid: int) -> str:
    """When a process began, in the kernel's ticks; empty if it is gone, or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]
