"""Debian's dockerd with its own data, socket and no network of its own, while it is needed."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab.machine import CACHE, LabError, one_at_a_time, run

_START_SECONDS = 60.0
_STOP_SECONDS = 30.0


class Daemon:
    """
    A daemon with its own data, which is kept between runs, and a socket.

    Its containers have no network, unless it is given a bridge and addresses of that for them.
    """

    def __init__(
        self, name: str, *, pki: Path | None = None, bridge: tuple[str, str] | None = None
    ) -> None:
        self._bridge = ["--bridge=none"]
        if bridge:
            self._bridge = [f"--bridge={bridge[0]}", f"--fixed-cidr={bridge[1]}"]
        self.folder = CACHE / "dockerd" / name
        self.endpoint = f"unix://{self.folder}/docker.sock"
        self.tls_endpoint = f"tcp://127.0.0.1:{_free_port()}" if pki else ""
        self.client = ["docker", "--host", self.endpoint]
        self.pki = pki
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Start it, and return once it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        folder = self.folder
        (folder / "docker.pid").unlink(missing_ok=True)
        command = [
            _dockerd(),
            f"--data-root={folder}/data",
            f"--exec-root={folder}/exec",
            f"--pidfile={folder}/docker.pid",
            f"--host={self.endpoint}",
            *("--iptables=false", "--ip-masq=false", "--ip-forward=false", *self._bridge),
            *self._tls(),
        ]
        environment = os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin"}  # noqa: TID251
        with (folder / "log").open("w") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, env=environment, start_new_session=True
            )
        try:
            _await_ready(self._process, self.client, folder)
        except BaseException:
            self.end()
            raise

    def end(self, *, kill: bool = False) -> None:
        """Stop it; killed, it leaves what runs in its containers to the next one."""
        process, self._process = self._process, None
        if process:
            containerd = self.folder / "exec" / "containerd" / "containerd.pid"
            number = int(containerd.read_text()) if containerd.exists() else 0
            _stop(process, kill=kill)
            # It dies with its daemon, a moment later: the next one would take it for its own.
            _await_gone(number)

    def containers(self) -> list[str]:
        """The names of all containers, whether they run or not."""
        return run([*self.client, "ps", "-a", "--format", "{{.Names}}"]).split()

    def clear(self) -> None:
        """Remove all containers: a run that was cut off leaves some."""
        if names := self.containers():
            run([*self.client, "rm", "-f", *names])

    def _tls(self) -> list[str]:
        if not self.pki:
            return []
        files = {"tlscacert": "ca.crt", "tlscert": "apiserver.crt", "tlskey": "apiserver.key"}
        named = [f"--{option}={self.pki / file}" for option, file in files.items()]
        return [f"--host={self.tls_endpoint}", "--tlsverify", *named]


@contextmanager
def daemon(name: str = "build", *, bridge: tuple[str, str] | None = None) -> Iterator[list[str]]:
    """The command line of a docker client for a daemon of ours, which is stopped at the end."""
    with running(Daemon(name, bridge=bridge)) as found:
        yield found.client


@contextmanager
def running(found: Daemon) -> Iterator[Daemon]:
    """A daemon, while it runs; nobody else runs one with its data meanwhile."""
    with one_at_a_time(f"dockerd-{found.folder.name}"):
        found.begin()
        try:
            yield found
        finally:
            found.end()


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


def _stop(process: subprocess.Popen[bytes], *, kill: bool) -> None:
    process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _await_gone(number: int) -> None:
    end = time.monotonic() + _STOP_SECONDS
    while number and Path(f"/proc/{number}").exists():
        if time.monotonic() > end:
            raise LabError(f"the process {number} of a daemon does not end")
        time.sleep(0.02)


def _dockerd() -> str:
    found = shutil.which("dockerd", path=f"{os.environ['PATH']}:/usr/sbin")  # noqa: TID251
    if not found:
        raise LabError("dockerd is missing")
    return found


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])
