"""
What the image keeps of its base: Python, the libraries that are linked with, and the CAs.

No shell, no pip and no package manager are among it. Of each Debian package that a file is of, its
entry of the package database is kept, by which scanners know what is there, and its licence.
"""

import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

# Of the standard library: what installs, tests, draws, and what databases are for.
_PACKAGES = ("ensurepip", "idlelib", "lib2to3", "pydoc_data", "test", "tests", "tkinter")
_FOLDERS = ("__pycache__", "config-*", "dist-packages", "site-packages", "turtledemo", "venv")
_MODULES = ("_curses*", "_dbm*", "_gdbm*", "_sqlite3*", "_tkinter*", "nis.*", "ossaudiodev*")
_TRIALS = ("_ctypes_test*", "_test*", "_xx*", "xx*", "readline*")
_LEFT_OUT = shutil.ignore_patterns(*_PACKAGES, *_FOLDERS, *_MODULES, *_TRIALS)

_LINKED = re.compile(r"^\s+(?:\S+ => )?(?P<path>/\S+) \(0x", re.MULTILINE)
_LACKING = re.compile(r"^\s+(?P<name>\S+) => not found", re.MULTILINE)
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
# `nologin` is there for nobody: it is what the field says where there is no shell.
_TEXTS = {
    "etc/passwd": "root:x:0:0::/:/nologin\npeitho:x:10001:0::/var/lib/peitho:/nologin\n",
    "etc/group": "root:x:0:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
}
_DPKG = Path("/var/lib/dpkg")


def copy(root: Path) -> None:
    """Copy it below a folder, in which the packages of Peitho are already."""
    _link_folders(root)
    copied = [_copied(python(), root), *_standard_library(root)]
    linked = [python(), *root.rglob("*.so"), *root.rglob("*.so.*")]
    copied += [_copied(path, root) for path in _libraries(linked, root)]
    copied += [_copied(_CERTIFICATES, root), _copied(Path("/etc/os-release"), root)]
    for name, text in _TEXTS.items():
        (root / name).write_text(text)
    (root / "tmp").mkdir(mode=0o1777)
    (root / "tmp").chmod(0o1777)
    _index_libraries(root)
    _copy_entries(copied, root)


def python() -> Path:
    """The interpreter that runs this, which is the base's, without links."""
    return Path(sys.executable).resolve()


def _link_folders(root: Path) -> None:
    """Have `lib` and the like lead into `usr`, where they do that in the base."""
    for link in Path("/").glob("lib*"):
        if link.is_symlink():
            (root / link.name).symlink_to(link.readlink())
            (root / "usr" / link.name).mkdir(parents=True, exist_ok=True)


def _copied(path: Path, root: Path) -> Path:
    """Copy a file of the base, and the link by which it is known; return the file."""
    file = path.resolve()
    name = path.parent.resolve() / path.name
    target = root / file.relative_to("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, target)
    link = root / name.relative_to("/")
    if link != target:
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(file if file.parent != name.parent else file.name)
    return file


def _standard_library(root: Path) -> list[Path]:
    """Copy it without what nobody needs who has no shell; return its files."""
    library = Path(sysconfig.get_path("stdlib")).resolve()
    target = root / library.relative_to("/")
    shutil.copytree(library, target, symlinks=True, ignore=_LEFT_OUT, dirs_exist_ok=True)
    for path in target.rglob("*"):
        if path.is_symlink():  # Debian's lead to what is not here
            path.unlink()
    return [Path("/") / path.relative_to(root) for path in target.rglob("*") if path.is_file()]


def _libraries(linked: Iterable[Path], root: Path) -> list[Path]:
    """The libraries of the base that the loader takes for these files."""
    command = ["/usr/bin/ldd", *map(str, linked)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if lacking := sorted(set(_LACKING.findall(done.stdout))):
        raise RuntimeError(f"the base lacks {', '.join(lacking)}: {done.stderr}")
    found = {Path(path) for path in _LINKED.findall(done.stdout)}
    return sorted(path for path in found if not path.is_relative_to(root))


def _index_libraries(root: Path) -> None:
    """Write the loader's cache: a Python of its own is not where it looks by itself."""
    (root / "etc/ld.so.conf").write_text("include /etc/ld.so.conf.d/*.conf\n")
    shutil.copytree("/etc/ld.so.conf.d", root / "etc/ld.so.conf.d")
    subprocess.run(["/sbin/ldconfig", "-X", "-r", str(root)], check=True)


def _copy_entries(files: Iterable[Path], root: Path) -> None:
    """Keep what Debian's database says of the packages of these files, where scanners look."""
    owners = _owners({_without_usr(str(file)) for file in files})
    database = root / "var/lib/dpkg/status.d"
    database.mkdir(parents=True)
    for entry in (_DPKG / "status").read_text().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in entry.splitlines() if ": " in line)
        name = fields.get("Package", "")
        if name in owners:
            (database / name).write_text(f"{entry.strip()}\n")
            licence = Path("/usr/share/doc") / name / "copyright"
            if licence.exists():
                _copied(licence, root)


def _owners(files: set[str]) -> set[str]:
    return {
        name for name, listed in _lists() if any(_without_usr(each) in files for each in listed)
    }


def _lists() -> Iterator[tuple[str, list[str]]]:
    """Each package, without its architecture, and its files."""
    for path in sorted((_DPKG / "info").glob("*.list")):
        yield path.stem.partition(":")[0], path.read_text().splitlines()


def _without_usr(path: str) -> str:
    """Packages still name folders of which the base has made links."""
    return path.removeprefix("/usr")
