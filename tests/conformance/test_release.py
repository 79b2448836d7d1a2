"""What `make release` makes: the same bytes twice, and a signature that openssl takes."""

import email.message
import hashlib
import json
import os
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import pytest

from release import __main__ as release
from release import layer, sbom, signing, wheel

PROJECT = Path(__file__).parents[2]
EPOCH = 1767323045
LOCK = """\
aiohttp==3.14.5 \\
    --hash=sha256:00
    # via peitho-fabric (pyproject.toml)
Click.X==8.5.1 ; sys_platform != 'emscripten' \\
    --hash=sha256:01 \\
    --hash=sha256:02
    # via
    #   aiohttp
    #   peitho-fabric (pyproject.toml)
"""


def digest(path: Path) -> str:
    """The sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def made_wheel(folder: Path, name: str = "thing", *, at: int = 1980) -> Path:
    """A wheel with a module, at a time of its own."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    metadata = email.message.Message()
    for key, value in (("Name", name), ("Version", "1.0"), ("License-Expression", "MIT")):
        metadata[key] = value
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in (
            (f"{name}/__init__.py", "A = ('x', 'x', frozenset({'a', 'b', 'c'}))\n"),
            (f"{name}-1.0.dist-info/METADATA", metadata.as_string()),
            (f"{name}-1.0.data/scripts/{name}", "#!python\n"),
        ):
            archive.writestr(zipfile.ZipInfo(file, (at, 1, 1, 0, 0, 0)), text)
    return path


def test_the_wheel_is_the_same_whenever_it_is_built(tmp_path: Path) -> None:
    """
    By whoever: their umask is not in it, and the time is the one that was given.
    """
    before = os.umask(0o077)
    try:
        first = wheel.build(PROJECT, tmp_path / "a", epoch=EPOCH)
    finally:
        os.umask(before)
    second = wheel.build(PROJECT, tmp_path / "b", epoch=EPOCH)

    assert first.name == second.name
    assert digest(first) == digest(second)
    with zipfile.ZipFile(first) as archive:
        times = {entry.date_time for entry in archive.infolist()}
    assert {time.gmtime(EPOCH)[:5]} == {each[:5] for each in times}


class TestTheLayer:
    def test_it_is_the_same_from_the_same_wheels(self, tmp_path: Path) -> None:
        """
        In whatever order they come, and whatever umask there is.
        """
        wheels = [made_wheel(tmp_path, name) for name in ("one", "two")]
        layer.write(wheels, tmp_path / "a.tar", epoch=EPOCH)
        before = os.umask(0o077)
        try:
            layer.write(wheels[::-1], tmp_path / "b.tar", epoch=EPOCH)
        finally:
            os.umask(before)

        assert digest(tmp_path / "a.tar") == digest(tmp_path / "b.tar")

    def test_it_is_what_the_dockerfile_starts(self, tmp_path: Path) -> None:
        """
        Packages, compiled; an environment of the base's Python; the launcher; a data directory.
        """
        layer.write([made_wheel(tmp_path)], tmp_path / "a.tar", epoch=EPOCH)
        with tarfile.open(tmp_path / "a.tar") as tar:
            entries = {entry.name: entry for entry in tar}

        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        packages = f"opt/peitho/lib/python{version}/site-packages"
        assert f"{packages}/thing/__init__.py" in entries
        tag = sys.implementation.cache_tag
        assert f"{packages}/thing/__pycache__/__init__.{tag}.pyc" in entries
        assert not any(".data" in name for name in entries)
        assert f"/usr/local/bin/python{version}" == entries["opt/peitho/bin/python"].linkname
        with tarfile.open(tmp_path / "a.tar") as tar:
            launcher = tar.extractfile("usr/local/bin/peitho")
            assert launcher is not None
            assert launcher.readline() == b"#!/opt/peitho/bin/python\n"
        assert 0o755 == entries["usr/local/bin/peitho"].mode
        assert (10001, 0) == (entries["var/lib/peitho"].uid, entries["var/lib/peitho"].gid)
        dockerfile = (PROJECT / "Dockerfile").read_text()
        for words in ("PATH=/opt/peitho/bin:", '["/usr/local/bin/peitho"]', "USER 10001"):
            assert words in dockerfile

    def test_it_says_nothing_of_who_made_it(self, tmp_path: Path) -> None:
        """
        No time, no user, no path of a build.
        """
        layer.write([made_wheel(tmp_path)], tmp_path / "a.tar", epoch=EPOCH)
        with tarfile.open(tmp_path / "a.tar") as tar:
            entries = tar.getmembers()

        assert {EPOCH} == {int(entry.mtime) for entry in entries}
        assert {""} == {entry.uname for entry in entries}
        assert {0, 10001} == {entry.uid for entry in entries}
        assert str(tmp_path).encode() not in (tmp_path / "a.tar").read_bytes()
        assert b"/tmp/" not in (tmp_path / "a.tar").read_bytes()


class TestTheSbom:
    def test_a_lock_file_is_read_with_who_needs_what(self) -> None:
        """
        In the names that PyPI compares.
        """
        aiohttp, click = sbom.pins(LOCK)

        assert ("aiohttp", "3.14.5", ("peitho-fabric",)) == (
            aiohttp.name,
            aiohttp.version,
            aiohttp.via,
        )
        assert ("click-x", ("aiohttp", "peitho-fabric")) == (click.name, click.via)
        assert "pkg:pypi/click-x@8.5.1" == click.purl

    def test_a_wheels_has_a_graph(self, tmp_path: Path) -> None:
        """
        From the wheel to what it needs, and on.
        """
        made = made_wheel(tmp_path, "peitho_fabric")
        document = sbom.of_wheel(made, LOCK, epoch=EPOCH)

        graph = {each["ref"]: each["dependsOn"] for each in document["dependencies"]}
        root = document["metadata"]["component"]
        assert ("application", "peitho-fabric", "1.0") == tuple(
            root[key] for key in ("type", "name", "version")
        )
        assert {
            "pkg:pypi/peitho-fabric@1.0": ["pkg:pypi/aiohttp@3.14.5", "pkg:pypi/click-x@8.5.1"],
            "pkg:pypi/aiohttp@3.14.5": ["pkg:pypi/click-x@8.5.1"],
            "pkg:pypi/click-x@8.5.1": [],
        } == graph
        assert [{"alg": "SHA-256", "content": digest(made)}] == root["hashes"]

    def test_the_images_has_each_wheel_that_is_in_it(self, tmp_path: Path) -> None:
        """
        With its digest and licence, and the base.
        """
        made, whole = made_wheel(tmp_path), tmp_path / "a.tar"
        layer.write([made], whole, epoch=EPOCH)
        document = sbom.of_image(whole, [made], base="python:3.11-slim", epoch=EPOCH)

        base, thing = document["components"]
        assert ("container", "python:3.11-slim") == (base["type"], base["name"])
        assert [{"expression": "MIT"}] == thing["licenses"]
        assert digest(made) == thing["hashes"][0]["content"]
        assert digest(whole) == document["metadata"]["component"]["hashes"][0]["content"]

    def test_all_that_our_lock_file_names_is_in_it(self, tmp_path: Path) -> None:
        """
        And each is needed by somebody who is there.
        """
        lock = (PROJECT / "requirements.lock").read_text()
        document = sbom.of_wheel(made_wheel(tmp_path, "peitho_fabric"), lock, epoch=EPOCH)
        named = {line.partition("==")[0] for line in lock.splitlines() if "==" in line[:60]}
        needed = {ref for each in document["dependencies"] for ref in each["dependsOn"]}

        assert {sbom.normal(name.strip()) for name in named} == {
            each["name"] for each in document["components"]
        }
        assert {each["purl"] for each in document["components"]} == needed
        refs = [each["bom-ref"] for each in document["components"]]
        assert len(refs) == len(set(refs))


class TestTheSignature:
    def test_openssl_takes_it_and_no_other(self, tmp_path: Path) -> None:
        """
        By the public key alone; a file that changed has another sum.
        """
        folder = tmp_path / "release"
        folder.mkdir()
        (folder / "a.whl").write_bytes(b"a")
        key, public = self._keys(tmp_path)
        signing.sign(signing.sums(folder), key)

        assert 0 == self._verified(folder, public)
        (folder / "SHA256SUMS").write_text("0  a.whl\n")
        assert 0 != self._verified(folder, public)

    def test_the_sums_are_those_of_sha256sum(self, tmp_path: Path) -> None:
        """
        Which checks them.
        """
        (tmp_path / "a.whl").write_bytes(b"a")
        signing.sums(tmp_path)

        check = ["sha256sum", "--check", "--quiet", "SHA256SUMS"]
        assert 0 == subprocess.run(check, cwd=tmp_path, check=False).returncode

    @pytest.mark.parametrize("content", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nx\n"])
    def test_what_is_no_key_is_told(self, tmp_path: Path, content: bytes) -> None:
        """
        By its name.
        """
        key = tmp_path / "key.pem"
        key.write_bytes(content)
        with pytest.raises(signing.NoKeyError, match=r"key\.pem is no private key"):
            signing.sign(key, key)

    def _keys(self, folder: Path) -> tuple[Path, Path]:
        key, public = folder / "key.pem", folder / "key.pub"
        for words in (
            ["genpkey", "-algorithm", "ed25519", "-out", str(key)],
            ["pkey", "-in", str(key), "-pubout", "-out", str(public)],
        ):
            subprocess.run(["openssl", *words], check=True)
        return key, public

    def _verified(self, folder: Path, public: Path) -> int:
        words = ["-verify", "-pubin", "-inkey", str(public), "-rawin", "-in", "SHA256SUMS"]
        command = ["openssl", "pkeyutl", *words, "-sigfile", "SHA256SUMS.sig"]
        return subprocess.run(command, cwd=folder, check=False, capture_output=True).returncode


def test_a_release_is_whole_and_the_same_twice(tmp_path: Path) -> None:
    """
    Wheel, layer, an SBOM of each, notes and sums.
    """
    wheels = [made_wheel(tmp_path)]
    for name in ("a", "b"):
        release.make(tmp_path / name, wheels, key=None, epoch=EPOCH)

    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    kinds = [name.partition("-")[2].lstrip("0123456789.-") or name for name in names]
    assert 6 == len(names), kinds
    assert "SHA256SUMS" in names
    assert (tmp_path / "a/SHA256SUMS").read_text() == (tmp_path / "b/SHA256SUMS").read_text()
    assert (tmp_path / "a/NOTES.md").read_text().startswith("## 0.")
    for path in (tmp_path / "a").glob("*.cdx.json"):
        document = json.loads(path.read_text())
        assert ("CycloneDX", "1.6") == (document["bomFormat"], document["specVersion"])
        assert document["serialNumber"].startswith("urn:uuid:")
