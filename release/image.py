"""
`python -m release.image WHEELS ROOT`: the file system of the image, for the Dockerfile.

It runs in the base, and makes of the wheels of a folder and of Peitho's source the same layer that
`make release` makes, and beside it what the image keeps of the base.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from release import base, layer, wheel

_PROJECT = Path(__file__).parents[1]


def make(wheels: Path, root: Path, *, epoch: int) -> None:
    """Make it, with all times at the epoch."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        own = wheel.build(_PROJECT, folder / "own", epoch=epoch)
        whole = folder / "layer.tar"
        layer.write([own, *wheels.glob("*.whl")], whole, epoch=epoch, python=str(base.python()))
        root.mkdir(parents=True)
        subprocess.run(["/bin/tar", "-xf", str(whole), "-C", str(root)], check=True)
    base.copy(root)
    layer.compile_modules(root, root / Path(os.__file__).parent.relative_to("/"))
    for path in (root, *root.rglob("*")):
        os.utime(path, (epoch, epoch), follow_symlinks=False)


if __name__ == "__main__":
    make(
        Path(sys.argv[1]),
        Path(sys.argv[2]),
        epoch=int(os.environ["SOURCE_DATE_EPOCH"]),  # noqa: TID251  reproducible-builds.org's
    )
