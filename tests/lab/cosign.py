"""cosign, as people have it; built from its Go module, once."""

import os
import subprocess
from pathlib import Path

from tests.lab.machine import go_program

_SOURCE = Path(__file__).parent / "cosign"
_PACKAGE = "github.com/sigstore/cosign/v2/cmd/cosign"
_SECONDS = 60


def build() -> Path:
    """The binary, from the cache or built: some minutes on a new machine."""
    return go_program(_SOURCE, _PACKAGE, takes="3 to 9 minutes")


def cosign(binary: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of it in a folder, which is its home, with no password for keys."""
    env = {
        "COSIGN_PASSWORD": "",
        "HOME": str(folder),
        "PATH": os.environ["PATH"],  # noqa: TID251  the lab is no part of Peitho
    }
    return subprocess.run(
        [str(binary), *words],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
