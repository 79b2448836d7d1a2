"""
Stand-ins for Fabric's images, and Peitho's own, made here: no registry can be reached.

Names, users and layout are the real ones; what is inside is in `layers.py`.
"""

import hashlib
import importlib.util
import io
import json
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from peitho import __version__
from tests.lab import cluster, layers
from tests.lab.daemon import Daemon, daemon
from tests.lab.layers import PATH
from tests.lab.machine import CACHE, LabError, install, one_at_a_time, program, run, step

PROJECT = Path(__file__).parents[2]
_REPOSITORY = "docker.io/peitho/peitho"
# As a release has them.
_VERSIONS = (__version__, __version__.rpartition(".")[0])
PEITHO_TAGS = tuple(f"{_REPOSITORY}:{each}" for each in _VERSIONS)
PEITHO = PEITHO_TAGS[0]

_ALL = "fabric-images"
# How long a daemon keeps stages of earlier builds, which later ones take up.
_KEPT = "24h"
# What builds download is in the images, since most tests have no network: here.
_DOWNLOADED = {"javaenv": "/root/.m2 /root/.gradle", "nodeenv": "/var/npm/_cacache"}
_LOCKS = ("requirements.lock", "requirements-build.lock")


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
        ("debian", "javaenv"), tags=_tags("javaenv", "2.5", "3.1"), directory="/root/chaincode-java"
    ),
)


def ensure(*layer_names: str) -> None:
    """
    All images, or those alone whose upmost layer has one of these names, are on the node.

    They are made and brought there if they are not.
    """
    install()
    if not layer_names or _is_brought(_ALL, _key()):
        _bring(_ALL, _key(), archive)
        return
    what = f"{_ALL}-{'-'.join(layer_names)}"
    _bring(what, _key(*layer_names), lambda: archive(_of(layer_names), CACHE / f"{what}.tar"))


def make(*layer_names: str) -> None:
    """What `ensure` takes long for, where no node is yet: the layers of images."""
    install()
    for name in sorted({each for image in _of(layer_names) for each in image.layers}):
        _layer(name)


def _of(layer_names: Sequence[str]) -> tuple[Image, ...]:
    return tuple(image for image in _IMAGES if image.layers[-1] in layer_names)


def ensure_in(docker: Daemon) -> None:
    """All images are in a running daemon, which keeps them with its data."""
    marker = docker.folder / "loaded"
    if marker.exists() and marker.read_text() == _key():
        return
    path = archive()
    with step(f"loading {path.name} into a daemon"):
        run([*docker.client, "load", "-q", "-i", path])
    marker.write_text(_key())


def _key(*layer_names: str) -> str:
    """Changes with what images are made of, all or those of `ensure`."""
    made_of = [layers.key(name) for name in layer_names or ("all",)]
    return hashlib.sha256(f"{_IMAGES}{''.join(made_of)}".encode()).hexdigest()[:16]


def find(tag: str) -> Image:
    """The image of a tag."""
    return next(each for each in _IMAGES if tag in each.tags)


def archive(images: Sequence[Image] = _IMAGES, path: Path = CACHE / "images.tar") -> Path:
    """A docker archive of images; layers that they share are in it once."""
    with one_at_a_time(path.name), step("making the stand-ins of Fabric's images"):
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


@one_at_a_time("prebuilt")
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


@one_at_a_time("peitho.tar")
def peitho() -> Path:
    """
    The docker archive of Peitho's image, built as from a fresh clone; cached by content.

    Of what `docker build .` does without arguments, base and wheels are from here: no registry of
    images can be reached, and a daemon of the lab has no network.
    """
    install()
    path = CACHE / f"peitho-{_source_key()}.tar"
    if path.exists():
        return path
    debian = layers.layer("debian")
    for old in CACHE.glob("peitho-*.tar"):
        old.unlink()
    with (
        step("building Peitho's image from its Dockerfile"),
        tempfile.TemporaryDirectory() as folder,
        daemon() as docker,
    ):
        _build(docker, debian, Path(folder), PEITHO_TAGS)
        run([*docker, "save", "-o", f"{path}.part", *PEITHO_TAGS])
        run([*docker, "image", "prune", "--force", "--filter", f"until={_KEPT}"])
    Path(f"{path}.part").rename(path)
    return path


def built_anew(docker: list[str], folder: Path) -> list[str]:
    """The digests of the layers of Peitho's image, built in a folder without what is cached."""
    tag = f"peitho-anew:{_source_key()}"
    try:
        _build(docker, layers.layer("debian"), folder, (tag,), "--no-cache")
        said = run([*docker, "image", "inspect", "--format", "{{json .RootFS.Layers}}", tag])
    finally:
        run([*docker, "rmi", "--force", tag])
    found: list[str] = json.loads(said)
    return found


def _build(docker: list[str], debian: Path, folder: Path, tags: Sequence[str], *flags: str) -> None:
    base = _base(docker, debian, folder)
    clone = _clone(folder / "clone")
    _wheels(clone / "dist")
    arguments = (f"BASE={base}", "PIP_NO_INDEX=1", "PIP_FIND_LINKS=given")
    given = [word for each in arguments for word in ("--build-arg", each)]
    named = [word for tag in tags for word in ("--tag", tag)]
    command = [*docker, "build", "-q", *flags, *given, *named, "."]
    run(command, cwd=clone, env={"DOCKER_BUILDKIT": "0"})


def _base(docker: list[str], debian: Path, folder: Path) -> str:
    """The base of the Dockerfile, in the daemon: Debian's Python, and pip as it is here."""
    tag = f"peitho-base:{debian.stem}"
    if run([*docker, "images", "-q", tag]).strip():
        return tag
    run([*docker, "import", debian, f"{tag}-without-pip"])
    found = importlib.util.find_spec("pip")
    if found is None or found.origin is None:
        raise LabError("pip is missing")
    context = folder / "base"
    shutil.copytree(Path(found.origin).parent, context / "pip")
    packages = "/usr/local/lib/python3.11/dist-packages/pip"
    (context / "Dockerfile").write_text(f"FROM {tag}-without-pip\nCOPY pip {packages}\n")
    run([*docker, "build", "-q", "--tag", tag, "."], cwd=context, env={"DOCKER_BUILDKIT": "0"})
    return tag


def _clone(folder: Path) -> Path:
    """The files of the project that a commit of now would have."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    named = run(listed, cwd=PROJECT)
    for name in named.split("\0"):
        source = PROJECT / name
        if name and source.is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, folder / name)
    return folder


def ensure_peitho() -> None:
    """Peitho's own image, as the source is now, is on the node."""
    _bring("peitho-image", _source_key(), peitho)


def empty(name: str) -> str:
    """The builder image of a name with nothing that builds download, as the public one is."""
    return f"docker.io/local/fabric-{name}-empty:1"


def ensure_empty(docker: list[str]) -> None:
    """The empty builder images are in a daemon, which has the others, and on the node."""
    for name, folders in _DOWNLOADED.items():
        recipe = f"FROM hyperledger/fabric-{name}:3.1\nRUN rm -rf {folders}\n"
        build = [*docker, "build", "-q", "-t", empty(name), "-"]
        run(build, stdin=recipe, env={"DOCKER_BUILDKIT": "0"})
    path = CACHE / "fabric-images-empty.tar"

    def save() -> Path:
        run([*docker, "save", "-o", path, *map(empty, _DOWNLOADED)])
        return path

    _bring("fabric-images-empty", _key(*_DOWNLOADED), save)
    path.unlink(missing_ok=True)


def _bring(what: str, key: str, make: Callable[[], Path]) -> None:
    """Bring an archive to the node, unless the marker there says that it is there already."""
    if _is_brought(what, key):
        return
    path = make()
    with step(f"bringing {path.name} to the node"):
        cluster.load(path)
    marker = cluster.marker(what)
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.write_text(key)


def _layer(name: str) -> Path:
    if name == "nodeenv":  # alone needs npm, which brings hundreds of packages
        program("npm", package="npm")
    return layers.layer(name)


def _is_brought(what: str, key: str) -> bool:
    marker = cluster.marker(what)
    return marker.exists() and marker.read_text() == key


def _source_key() -> str:
    digest = hashlib.sha256(layers.key("debian").encode())
    names = ("Dockerfile", ".dockerignore", "pyproject.toml", *_LOCKS)
    files = [PROJECT / name for name in names]
    folders = (PROJECT / "src", PROJECT / "release")
    suffixes = (".py", ".css", ".js", ".svg")
    files += [path for each in folders for path in each.rglob("*") if path.suffix in suffixes]
    for path in sorted(files):
        digest.update(str(path.relative_to(PROJECT)).encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _wheels(folder: Path) -> None:
    """What the lock files of the image name, in a folder."""
    names = [PROJECT / name for name in _LOCKS]
    key = hashlib.sha256(b"".join(path.read_bytes() for path in names)).hexdigest()[:16]
    cached = CACHE / "wheels" / key
    if not cached.exists():
        part = cached.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        suiting = ["--python-version", "3.11", "--only-binary", ":all:"]
        pip = [sys.executable, "-m", "pip", "download", "-q", "--require-hashes", *suiting]
        for lock in names:
            run([*pip, "-r", lock, "-d", part])
        part.rename(cached)
    shutil.copytree(cached, folder)


def _write_archive(path: Path, images: Sequence[Image]) -> None:
    """The format of `docker save`: a manifest, configurations, layers."""
    names = sorted({name for image in images for name in image.layers})
    found = {name: _layer(name) for name in names}
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
