"""
containerd 2 and runc, from the Go module proxy: Debian's know no user namespaces of Pods.

Kubernetes admits a user 0 to a `restricted` namespace where the Pod has a user namespace
(`hostUsers: false`), which needs containerd 2 and runc 1.2 (KEP-127).  runc's package has C.
"""

import hashlib
from pathlib import Path

from tests.lab.machine import CACHE, go, one_at_a_time, run, step

_SOURCE = Path(__file__).parent / "runtime"
_CONTAINERD = "github.com/containerd/containerd/v2"
_GO_ALONE = tuple(
    f"{_CONTAINERD}/cmd/{name}" for name in ("containerd", "containerd-shim-runc-v2", "ctr")
)
_RUNC = "github.com/opencontainers/runc"


def folder() -> Path:
    """The folder of the programs; containerd finds the others by its PATH."""
    return CACHE / f"runtime-{_key()}"


@one_at_a_time("runtime")
def build() -> Path:
    """The folder of the programs, from the cache or built: once."""
    found = folder()
    if found.exists():
        return found
    part = found.with_suffix(".part")
    part.mkdir(parents=True, exist_ok=True)
    version = f"-X {_CONTAINERD}/version.Version={_version()}"
    with step("building containerd and runc (once: 1 to 3 minutes)"):
        _build(part, *_GO_ALONE, flags=["-ldflags", f"-s -w {version}"], c="0")
        _build(part, _RUNC, flags=["-tags", "seccomp", "-ldflags", "-s -w"], c="1")
    part.rename(found)
    return found


def _build(target: Path, *packages: str, flags: list[str], c: str) -> None:
    command = [*go(), "build", *flags, "-o", f"{target}/", *packages]
    run(command, cwd=_SOURCE, env={"CGO_ENABLED": c, "GOFLAGS": "-buildvcs=false"})


def _version() -> str:
    lines = (_SOURCE / "go.mod").read_text().splitlines()
    (found,) = [line.split()[1] for line in lines if line.split()[:1] == [_CONTAINERD]]
    return found.removeprefix("v")


def _key() -> str:
    parts = [_SOURCE / name for name in ("go.mod", "go.sum")]
    return hashlib.sha256(b"".join(path.read_bytes() for path in parts)).hexdigest()[:12]
