"""
`python -m release [--key FILE]`: all that a release is, into build/release.

The same commit, and the same Python, give the same bytes: times are the commit's, or
SOURCE_DATE_EPOCH.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from release import layer, sbom, signing, wheel

PROJECT = Path(__file__).parents[1]
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Make it, and print where."""
    parser = argparse.ArgumentParser(prog="make release", description=__doc__)
    parser.add_argument("--key", type=Path, help="an Ed25519 key in PEM that signs the sums")
    parser.add_argument("--into", type=Path, default=PROJECT / "build/release")
    given = parser.parse_args(arguments)
    if missing := lacks_python(sys.version_info[:2]):
        parser.error(missing)
    with tempfile.TemporaryDirectory() as temporary:
        wheels = _download(Path(temporary))
        make(given.into, wheels, key=given.key)
    print(given.into)  # noqa: T201  what a command prints
    if given.key is None:
        print("not signed: give --key", file=sys.stderr)  # noqa: T201


def lacks_python(running: tuple[int, int]) -> str:
    """Return why this Python makes no release, or nothing: its layer is laid beside the base's."""
    found = re.match(r"python:(\d+)\.(\d+)\.", _base())
    if found is None:
        return "the Dockerfile's BASE names no version of Python"
    wanted = (int(found[1]), int(found[2]))
    if wanted == running:
        return ""
    return "the base of the image has Python {}.{}, and this is {}.{}".format(*wanted, *running)


def make(folder: Path, wheels: Sequence[Path], *, key: Path | None, epoch: int = 0) -> None:
    """Make a release of these wheels, which are what the lock file names, into an empty folder."""
    epoch = epoch or _epoch()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    own = wheel.build(PROJECT, folder, epoch=epoch)
    version = own.name.split("-")[1]
    place = f"py{sys.version_info.major}{sys.version_info.minor}-{_architecture()}"
    image_layer = folder / f"peitho-{version}-{place}.layer.tar"
    layer.write([own, *wheels], image_layer, epoch=epoch)
    lock = (PROJECT / "requirements.lock").read_text()
    documents = {
        f"{own.stem}.cdx.json": sbom.of_wheel(own, lock, epoch=epoch),
        f"{image_layer.stem}.cdx.json": sbom.of_image(
            image_layer, [own, *wheels], base=_base(), epoch=epoch
        ),
    }
    for name, document in documents.items():
        (folder / name).write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")
    (folder / "NOTES.md").write_text(_notes(version, epoch))
    sums = signing.sums(folder)
    if key:
        signing.sign(sums, key)


def _download(folder: Path) -> list[Path]:
    """The wheels that the lock file names, for this Python, each by its hash."""
    lock = PROJECT / "requirements.lock"
    flags = ["--require-hashes", "--only-binary", ":all:", "-r", str(lock), "-d", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", *flags], check=True)
    return sorted(folder.glob("*.whl"))


def _epoch() -> int:
    if given := os.environ.get("SOURCE_DATE_EPOCH"):  # noqa: TID251  reproducible-builds.org's
        return int(given)
    command = ["git", "log", "-1", "--format=%ct"]
    return int(subprocess.run(command, cwd=PROJECT, check=True, capture_output=True).stdout)


def _architecture() -> str:
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)


def _base() -> str:
    """The base of the image, as the Dockerfile has it."""
    found = re.search(r"^ARG BASE=(\S+)$", (PROJECT / "Dockerfile").read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError("the Dockerfile names no BASE")
    return found[1]


def _notes(version: str, epoch: int) -> str:
    """The notes of what is not released yet, of the fragments in changes/."""
    day = datetime.fromtimestamp(epoch, UTC).date().isoformat()
    words = ["--draft", "--version", version, "--date", day]
    done = subprocess.run(
        [sys.executable, "-m", "towncrier", "build", *words],
        cwd=PROJECT,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout[done.stdout.index("## ") :]


if __name__ == "__main__":
    main()
