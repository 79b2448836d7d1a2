"""The wheel: the same bytes from the same source, whoever builds it, and when."""

import os
import subprocess
import sys
from pathlib import Path


def build(project: Path, folder: Path, *, epoch: int) -> Path:
    """Build it into an empty folder, with all times at the epoch."""
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(epoch)}  # noqa: TID251  hatchling's
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=project,
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    (wheel,) = folder.glob("*.whl")
    return wheel
