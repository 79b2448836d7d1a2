"""
Stand-ins for Fabric's images, and Peitho's own, made here: no registry can be reached.

Names, users and layout are the real ones; what is inside is in `layers.py`.
"""

import hashlib
import io
import json
import shutil
import sys
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab import cluster, layers
from tests.lab.daemon import Daemon, daemon
from tests.lab.layers import PATH
from tests.lab.machine import CACHE, install, run, step

PEITHO = "docker.io/peitho/peitho:dev"

_PROJECT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Image:
    """Layers by name, lowest first, and what the image's configuration says."""

    layers: tuple[str, ...]
    user: str = ""
    env: tuple[str, ...] = (PATH,)
    command: tuple[str, ...] = ("/bin/sh",)
    directory: str = "/"
    tags: tuple[str, ...] = field(default=())


def _tags(name: str, *versions: str) -> tuple[str, ...]:
    return tuple(f"docker.io/hyperledger/fabric-{name}:{version}" for version in versions)


_IMAGES = (
    Image(("debian", "ccenv"), user="chaincode", tags=_tags("ccenv", "2.2", "2.5", "3.1")),
    # Peers of 1.4 build in a GOPATH, which the Go of that day took for granted.
    Image(
        ("debian", "ccenv"),
        user="chaincode",
        env=(PATH, "GO111MODULE=off"),
        tags=_tags("ccenv", "1.4"),
    ),
    Image(
        ("baseos",),
        user="chaincode",
        tags=_tags("baseos", "amd64-0.4.22", "2.2", "2.5", "3.1"),
    ),
    Image(
        ("debian", "nodeenv"),
        tags=_tags("nodeenv", "2.2", "2.5", "3.1"),
        directory="/usr/local/src",
    ),
    Image(
        ("baseos", "javaenv"), tags=_tags("javaenv", "2.5", "3.1"), directory="/root/chaincode-java"
    ),
)


def ensure() -> None:
    """All images are on the node; made and brought there if they are not."""
    install()
    _bring("fabric-images", _key(), archive)


def ensure_in(docker: Daemon) -> None:
    """All images are in a running daemon, which keeps them with its data."""
    marker = docker.folder / "loaded"
    if marker.exists() and marker.read_text() == _key():
        return
    path = archive()
    with step(f"loading {path.name} into a daemon"):
        run([*docker.client, "load", "-q", "-i", path])
    marker.write_text(_key())


def _key() -> str:
    return hashlib.sha256(f"{_IMAGES}{layers.key('all')}".encode()).hexdigest()[:16]


def find(tag: str) -> Image:
    """The image of a tag."""
    return next(each for each in _IMAGES if tag in each.tags)


def archive(images: Sequence[Image] = _IMAGES) -> Path:
    """A docker archive of images; layers that they share are in it once."""
    with step("making the stand-ins of Fabric's images"):
        path = CACHE / "images.tar"
        _write_archive(path, images)
    return path


def pause() -> Path:
    """The archive of the image that holds a Pod's namespaces: a program that waits."""
    path = CACHE / "pause.tar"
    image = Image(
        ("baseos",),
        command=("/bin/busybox", "sleep", "2147483647"),
        tags=("docker.io/local/pause:1",),
    )
    _write_archive(path, (image,))
    return path


def ensure_prebuilt() -> str:
    """An image that runs by itself is on our own node; its name, by digest."""
    said = 'echo "peer at $CORE_PEER_ADDRESS, $(cat /etc/hyperledger/fabric/client.key)"'
    tag = "docker.io/local/fabric-prebuilt:1"
    image = Image(
        ("baseos",),
        command=("/bin/sh", "-c", f"{said}; while true; do sleep 0.1; done"),
        tags=(tag,),
    )
    path = CACHE / "prebuilt.tar"
    _write_archive(path, (image,))
    run([*cluster.ctr(), "images", "import", path])
    found = run([*cluster.ctr(), "images", "list", f"name=={tag}"]).split()
    (digest,) = [word for word in found if word.startswith("sha256:")]
    named = f"{tag.removesuffix(':1')}@{digest}"
    run([*cluster.ctr(), "images", "tag", "--force", tag, named])
    return named


def peitho(tag: str = PEITHO) -> Path:
    """The docker archive of Peitho's image, built from its own Dockerfile; cached by content."""
    install()
    path = CACHE / f"peitho-{_source_key()}.tar"
    if path.exists():
        return path
    base = layers.layer("debian")
    for old in CACHE.glob("peitho-*.tar"):
        old.unlink()
    with step("building Peitho's image from its Dockerfile"), daemon() as docker:
        present = run([*docker, "images", "-q", "peitho-base:lab"]).strip()
        if not present:
            run([*docker, "import", base, "peitho-base:lab"])
        _wheels()
        build = ["build", "-q", "--build-arg", "BASE=peitho-base:lab", "-t", tag, "."]
        run([*docker, *build], cwd=_PROJECT, env={"DOCKER_BUILDKIT": "0"})
        run([*docker, "save", "-o", f"{path}.part", tag])
    Path(f"{path}.part").rename(path)
    return path


def ensure_peitho() -> None:
    """Peitho's own image, as the source is now, is on the node."""
    _bring("peitho-image", _source_key(), peitho)


def _bring(what: str, key: str, make: Callable[[], Path]) -> None:
    """Bring an archive to the node, unless the marker there says that it is there already."""
    marker = cluster.marker(what)
    if marker.exists() and marker.read_text() == key:
        return
    path = make()
    with step(f"bringing {path.name} to the node"):
        cluster.load(path)
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.write_text(key)


def _source_key() -> str:
    digest = hashlib.sha256()
    files = [_PROJECT / "Dockerfile", _PROJECT / "requirements.lock", _PROJECT / "pyproject.toml"]
    source = [
        path
        for path in (_PROJECT / "src").rglob("*")
        if path.suffix in (".py", ".css", ".js", ".svg")
    ]
    for path in sorted([*files, *source]):
        digest.update(str(path.relative_to(_PROJECT)).encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _wheels() -> None:
    """Peitho and what it needs as wheels in `dist/`, so that the image is built with no network."""
    folder = _PROJECT / "dist"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    lock = _PROJECT / "requirements.lock"
    cached = CACHE / "wheels" / hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    pip = [sys.executable, "-m", "pip"]
    if not cached.exists():
        part = cached.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        suiting = ["--python-version", "3.11", "--only-binary", ":all:"]
        run([*pip, "download", "-q", "--require-hashes", *suiting, "-r", lock, "-d", part])
        part.rename(cached)
    for wheel in cached.iterdir():
        shutil.copy(wheel, folder)
    run([*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, _PROJECT])


def _write_archive(path: Path, images: Sequence[Image]) -> None:
    """The format of `docker save`: a manifest, configurations, layers."""
    names = sorted({name for image in images for name in image.layers})
    found = {name: layers.layer(name) for name in names}
    digests = {name: sha256(layer_path) for name, layer_path in found.items()}
    manifest = []
    with tarfile.open(f"{path}.part", "w") as target:
        for name, layer_path in found.items():
            target.add(layer_path, arcname=f"{digests[name]}/layer.tar")
        for image in images:
            config = json.dumps(configuration(image, digests)).encode()
            name = f"{hashlib.sha256(config).hexdigest()}.json"
            _add(target, name, config)
            blobs = [f"{digests[each]}/layer.tar" for each in image.layers]
            manifest.append({"Config": name, "RepoTags": list(image.tags), "Layers": blobs})
        _add(target, "manifest.json", json.dumps(manifest).encode())
    Path(f"{path}.part").rename(path)


def configuration(image: Image, digests: Mapping[str, str]) -> dict[str, object]:
    """What an image's configuration says; digests are of its layers, by name."""
    return {
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "User": image.user,
            "Env": list(image.env),
            "Cmd": list(image.command),
            "WorkingDir": image.directory,
        },
        "rootfs": {
            "type": "layers",
            "diff_ids": [f"sha256:{digests[each]}" for each in image.layers],
        },
    }


def _add(target: tarfile.TarFile, name: str, content: bytes) -> None:
    header = tarfile.TarInfo(name)
    header.size = len(content)
    target.addfile(header, io.BytesIO(content))


def sha256(path: Path) -> str:
    """The digits of a file's digest."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
