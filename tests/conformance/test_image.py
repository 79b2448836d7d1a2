"""Peitho's image, as `docker build .` of a fresh clone makes it: what is in it, and how it runs."""

import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from peitho import __version__
from tests.lab import images
from tests.lab.daemon import daemon
from tests.lab.machine import LabError, run

MOST_BYTES = 120_000_000
# By which somebody could do what was not foreseen.
SHELLS = {"sh", "bash", "dash", "ash", "busybox"}
INSTALLERS = {"apt", "apt-get", "dpkg", "pip", "pip3", "ensurepip", "easy_install"}
DOWNLOADERS = {"curl", "wget", "perl"}


@dataclass(frozen=True, slots=True)
class Archive:
    """What a docker archive of one image says of it."""

    config: dict[str, object]
    layers: list[str]
    tags: list[str]
    entries: tuple[tarfile.TarInfo, ...]

    @classmethod
    def read(cls, path: Path) -> "Archive":
        with tarfile.open(path) as archive:
            (listed,) = json.loads(_content(archive, "manifest.json"))
            config = json.loads(_content(archive, listed["Config"]))
            entries: list[tarfile.TarInfo] = []
            for name in listed["Layers"]:
                with tarfile.open(fileobj=archive.extractfile(name)) as layer:
                    entries += layer.getmembers()
        digests = config["rootfs"]["diff_ids"]
        return cls(config["config"], digests, listed["RepoTags"], tuple(entries))


def _content(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None
    return file.read()


@pytest.fixture(scope="module")
def archive() -> Path:
    """Built here, since no test has the time for it."""
    return images.peitho()


@pytest.fixture(scope="module")
def docker(archive: Path) -> Iterator[list[str]]:
    """A daemon that has it."""
    with daemon() as client:
        run([*client, "load", "-q", "-i", archive])
        yield client


def test_there_is_no_shell_and_nothing_that_installs(archive: Path) -> None:
    """
    One program of the base is there, and one of ours; nobody becomes root by a file.
    """
    entries = Archive.read(archive).entries
    names = {Path(entry.name).name for entry in entries if not entry.isdir()}
    modules = {Path(entry.name).parent.name for entry in entries}
    programs = {
        Path(entry.name).name
        for entry in entries
        if Path(entry.name).parent.name in ("bin", "sbin") and not entry.isdir()
    }

    assert set() == names & (SHELLS | INSTALLERS | DOWNLOADERS)
    assert set() == modules & {"ensurepip", "pip", "setuptools"}
    assert {"peitho", "python", "python3", "python3.11"} == programs
    assert [] == [entry.name for entry in entries if entry.mode & 0o6000]


def test_it_is_small_and_a_user_of_its_own_runs_it(archive: Path) -> None:
    """
    With Python, and all that Python needs; it has the tags of a release.
    """
    found = Archive.read(archive)

    assert sum(entry.size for entry in found.entries) < MOST_BYTES
    assert "10001" == found.config["User"]
    minor = __version__.rpartition(".")[0]
    assert [f"peitho/peitho:{each}" for each in (__version__, minor)] == found.tags


def test_scanners_find_what_is_of_the_base(archive: Path) -> None:
    """
    The entries of Debian's database for what was taken of it, and no others.
    """
    folder = "var/lib/dpkg/status.d/"
    names = [entry.name for entry in Archive.read(archive).entries]
    found = {name.removeprefix(folder) for name in names if name.startswith(folder)}

    assert {"libc6", "libssl3", "zlib1g"} <= found
    assert set() == found & {"apt", "bash", "coreutils", "dash", "dpkg"}


def test_it_runs_with_nothing_to_write_to(docker: list[str]) -> None:
    """
    As any user, without capabilities, as the restricted policy has it.
    """
    confined = ("--rm", "--read-only", "--cap-drop=ALL", "--network=none", "--user=12345:0")
    begin = [*docker, "run", *confined, "--security-opt=no-new-privileges"]
    imports = "import aiohttp, cryptography, lightkube, peitho.pod.puller, ssl; "
    trusted = "print(len(ssl.create_default_context().get_ca_certs()) > 100)"

    assert f"peitho {__version__}\n" == run([*begin, images.PEITHO, "version"])
    python = ("--entrypoint=python", images.PEITHO, "-c", imports + trusted)
    assert "True\n" == run([*begin, *python])
    with pytest.raises(LabError, match="no such file or directory"):
        run([*begin, "--entrypoint=/bin/sh", images.PEITHO, "-c", "true"])


def test_it_is_the_same_by_whomever_it_is_built(
    archive: Path, docker: list[str], tmp_path: Path
) -> None:
    """
    In another folder, at another time, with another umask, and nothing taken of a build before.
    """
    before = os.umask(0o077)
    try:
        layers = images.built_anew(docker, tmp_path)
    finally:
        os.umask(before)

    assert Archive.read(archive).layers == layers
