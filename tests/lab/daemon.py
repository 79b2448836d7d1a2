"""Debian's dockerd with its own data, socket and no network of its own, while it is needed."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab.machine import CACHE, LabError, run

_START_SECONDS = 60.0
_STOP_SECONDS = 30.0


@contextmanager
def daemon(name: str = "build") -> Iterator[list[str]]:
    """The command line of a docker client for a daemon of ours, which is stopped at the end."""
    folder = CACHE / "dockerd" / name
    folder.mkdir(parents=True, exist_ok=True)
    socket = folder / "docker.sock"
    command = [
        _dockerd(),
        f"--data-root={folder}/data",
        f"--exec-root={folder}/exec",
        f"--pidfile={folder}/docker.pid",
        f"--host=unix://{socket}",
        *("--bridge=none", "--iptables=false", "--ip-masq=false", "--ip-forward=false"),
    ]
    (folder / "docker.pid").unlink(missing_ok=True)
    environment = os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin"}  # noqa: TID251
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env=environment, start_new_session=True
        )
    try:
        client = ["docker", "--host", f"unix://{socket}"]
        _await_ready(process, client, folder)
        yield client
    finally:
        _stop(process)


def _await_ready(process: subprocess.Popen[bytes], client: list[str], folder: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while True:
        try:
            run([*client, "version"])
        except LabError:
            if process.poll() is not None or time.monotonic() > end:
                raise LabError(f"dockerd did not start; see {folder}/log") from None
            time.sleep(0.2)
        else:
            return


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _dockerd() -> str:
    found = shutil.which("dockerd", path=f"{os.environ['PATH']}:/usr/sbin")  # noqa: TID251
    if not found:
        raise LabError("dockerd is missing")
    return found
