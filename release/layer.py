"""
The image's layer: what the Dockerfile lays beside the Python of its base, as one tar, of wheels.

Files are in the order of their names, of root, at one time, and modules are compiled, so that a Pod
starts without doing it; all of it is the same from the same wheels and the same Python.
"""

import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

# Where the base of the Dockerfile has its own.
PYTHON = f"/usr/local/bin/python{sys.version_info.major}.{sys.version_info.minor}"

_ROOT = "opt/peitho"
_PACKAGES = f"{_ROOT}/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
# There is no shell that would start it.
_LAUNCHER = f"#!/{_ROOT}/bin/python\nfrom peitho.cli import main\n\nmain()\n"
_DATA, _USER = "var/lib/peitho", 10001
_EXECUTABLE, _PLAIN = 0o755, 0o644


def write(wheels: Sequence[Path], target: Path, *, epoch: int, python: str = PYTHON) -> None:
    """Write the layer of these wheels, for the Python that runs this, which the base has there."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        packages = root / _PACKAGES
        packages.mkdir(parents=True)
        for wheel in sorted(wheels, key=lambda path: path.name):
            with zipfile.ZipFile(wheel) as archive:  # its hash is the lock file's
                archive.extractall(packages)  # noqa: S202
        for scripts in packages.glob("*.data"):  # of a Python that is not there
            shutil.rmtree(scripts)
        compile_modules(root, packages)
        with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
            for path in sorted(root.rglob("*")):
                name = str(path.relative_to(root))
                tar.add(path, name, recursive=False, filter=_at(epoch))
            _add_environment(tar, epoch, python)


def compile_modules(root: Path, folder: Path) -> None:
    """
    Compile all modules of a folder, which is to be below `/` what it is below the root.

    It is done in one process and with one seed: both decide about what a compiled module says of
    equal constants (bpo-34093).
    """
    subprocess.run(
        [
            *(sys.executable, "-m", "compileall", "-q", "-j", "1"),
            *("--invalidation-mode", "unchecked-hash"),
            *("-s", str(root), "-p", "/", str(folder)),
        ],
        env=os.environ | {"PYTHONHASHSEED": "0", "PYTHONPYCACHEPREFIX": ""},  # noqa: TID251
        check=True,
    )


def _add_environment(tar: tarfile.TarFile, epoch: int, python: str) -> None:
    """Add the virtual environment's own files, the launcher, and the data directory."""
    settings = f"home = {Path(python).parent}\ninclude-system-site-packages = false\n"
    files = {f"{_ROOT}/pyvenv.cfg": settings, "usr/local/bin/peitho": _LAUNCHER}
    for name, text in files.items():
        entry = tarfile.TarInfo(name)
        entry.size = len(text)
        tar.addfile(_at(epoch)(entry), io.BytesIO(text.encode()))
    for name in (f"{_ROOT}/bin/python", f"{_ROOT}/bin/python3"):
        link = tarfile.TarInfo(name)
        link.type, link.linkname = tarfile.SYMTYPE, python
        tar.addfile(_at(epoch)(link))
    data = tarfile.TarInfo(_DATA)
    data.type = tarfile.DIRTYPE
    data = _at(epoch)(data)
    data.uid = _USER
    tar.addfile(data)


def _at(epoch: int) -> Callable[[tarfile.TarInfo], tarfile.TarInfo]:
    """Return what gives an entry root, a time, and a mode that is nobody's umask."""

    def change(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        entry.mtime = epoch
        is_executable = entry.isdir() or entry.name == "usr/local/bin/peitho"
        entry.mode = _EXECUTABLE if is_executable or entry.issym() else _PLAIN
        return entry

    return change
