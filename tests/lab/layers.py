"""
The file systems of the lab's images, a layer each, made on this machine and kept in the cache.

One Debian root that most share, this machine's Go, npm from the npm registry, and busybox.
"""

import hashlib
import inspect
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.lab import javaenv
from tests.lab.machine import CACHE, LabError, go, one_at_a_time, run, step
from tests.lab.peer import build_chaincode

_GO_CHAINCODE = Path(__file__).parent / "chaincode" / "go"
_NODE_CHAINCODE = Path(__file__).parent / "chaincode" / "node"
_LAYERS = CACHE / "layers"
_NPM = "npm@10.9.4"
_STATIC = "-ldflags \"-linkmode external -extldflags '-static'\""
PATH = "PATH=/usr/local/go/bin:/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin"
_USERS = "root:x:0:0:root:/root:/bin/sh\nchaincode:x:500:500::/home/chaincode:/bin/sh\n"
_GROUP = "root:x:0:\nchaincode:x:500:\n"
_BUSYBOX = ("sh", "cat", "echo", "env", "id", "kill", "ls", "sleep", "test", "true", "false", "yes")


def layer(name: str) -> Path:
    """The tar of a layer, from the cache or made."""
    path = _LAYERS / f"{name}-{key(name)}.tar"
    with one_at_a_time(f"layer-{name}"):
        if not path.exists():
            _make(name, path)
    return path


def _make(name: str, path: Path) -> None:
    _LAYERS.mkdir(parents=True, exist_ok=True)
    for old in _LAYERS.glob(f"{name}-*.tar"):
        old.unlink()
    with step(f"making the layer {name}"):
        root = _LAYERS / f"{name}.root"
        _discard(root)
        root.mkdir(mode=0o755)
        _MAKERS[name](root)
        _tar(root, path)
        if name != "debian":
            _discard(root)


def key(name: str) -> str:
    """Changes with what a layer is made of; Debian's root takes long, and changes with less."""
    made_of = [inspect.getsource(_debian)]
    if name != "debian":
        made_of += [Path(__file__).read_text(), (_NODE_CHAINCODE / "package-lock.json").read_text()]
        made_of += [(_GO_CHAINCODE / "go.sum").read_text()]
        made_of += [run([*go(), "version"])]
    if name in ("javaenv", "all"):
        made_of.append(javaenv.sources())
    return hashlib.sha256("".join(made_of).encode()).hexdigest()[:12]


def _debian(root: Path) -> None:
    packages = "python3,gcc,libc6-dev,nodejs,ca-certificates"
    options = ["--variant=minbase", f"--include={packages}"]
    run(["debootstrap", *options, "bookworm", root, *_mirror()])
    for folder in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man"):
        shutil.rmtree(root / folder, ignore_errors=True)
    (root / "usr/bin/python").symlink_to("python3")


def _ccenv(root: Path) -> None:
    goroot = Path(run([*go(), "env", "GOROOT"]).strip())
    with _above_debian(root) as merged:
        shutil.copytree(goroot, merged / "usr/local/go", symlinks=True)
        _users(merged)
        _chaincode_folders(merged)
        _compile_standard_library(merged)
        _compile_modules(merged)
        run(["chown", "-R", "500:500", merged / "home/chaincode"])


def _compile_standard_library(merged: Path) -> None:
    """What chaincode uses of it, for both ways in which peers build."""
    source = merged / "tmp/warm"
    source.mkdir()
    (source / "go.mod").write_text("module warm\n\ngo 1.24\n")
    imports = "crypto/tls crypto/x509 encoding/base64 encoding/json flag fmt net/http os/signal"
    lines = "".join(f'\t_ "{name}"\n' for name in imports.split())
    (source / "main.go").write_text(f"package main\n\nimport (\n{lines})\n\nfunc main() {{}}\n")
    for flags in ("", _STATIC):
        _go_build(merged, "/tmp/warm", flags)
    shutil.rmtree(source)


def _compile_modules(merged: Path) -> None:
    """The modules of the tests' chaincode, where peers of 2.x and later build it."""
    source = merged / "chaincode/input/src"
    shutil.copytree(build_chaincode("go"), source)
    _go_build(merged, "/chaincode/input/src", f"-mod=vendor {_STATIC}")
    shutil.rmtree(source)


def _go_build(merged: Path, directory: str, flags: str) -> None:
    script = f"cd {directory} && GO111MODULE=on go build {flags} -o /tmp/built ."
    # There is no /proc in there, by which Go would find itself.
    environment = ["HOME=/home/chaincode", "GOROOT=/usr/local/go", PATH]
    run(["chroot", merged, "/usr/bin/env", "-i", *environment, "/bin/sh", "-c", script])
    (merged / "tmp/built").unlink()


def _nodeenv(root: Path) -> None:
    """Node.js of Debian with npm, and a cache of what the Node.js chaincode of the tests needs."""
    with _above_debian(root) as merged:
        modules = merged / "usr/local/lib/node_modules"
        modules.mkdir(parents=True)
        run(["npm", "pack", "-s", _NPM, "--pack-destination", merged / "tmp"])
        (packed,) = (merged / "tmp").glob("npm-*.tgz")
        with tarfile.open(packed) as package:
            package.extractall(modules, filter="data")
        packed.unlink()
        (modules / "package").rename(modules / "npm")
        for name in ("npm", "npx"):
            script = f"/usr/local/lib/node_modules/npm/bin/{name}-cli.js"
            (merged / f"usr/local/bin/{name}").symlink_to(script)
            (merged / script.lstrip("/")).chmod(0o755)
        (merged / "usr/local/src").mkdir(exist_ok=True)
        _chaincode_folders(merged)
        _fill_npm_cache(merged)


def _fill_npm_cache(merged: Path) -> None:
    """Pods have no network: what the chaincode needs is in a cache that any user may write to."""
    # The last line: npm may warn first.
    registry = run(["npm", "config", "get", "registry"]).split()[-1]
    work = merged / "tmp/chaincode"
    shutil.copytree(_NODE_CHAINCODE, work, ignore=shutil.ignore_patterns("node_modules"))
    cache = merged / "var/npm"
    run(["npm", "install", "--omit=dev", "--no-audit", "--cache", cache], cwd=work)
    shutil.rmtree(work)
    settings = ["cache=/var/npm", "offline=true", "audit=false", "fund=false"]
    etc = merged / "usr/local/lib/node_modules/npm/npmrc"
    etc.write_text("\n".join([*settings, "update-notifier=false", f"registry={registry}", ""]))
    run(["chmod", "-R", "a+rwX", cache])


def _baseos(root: Path) -> None:
    busybox = shutil.which("busybox")
    if not busybox:
        raise LabError("busybox is missing")
    for folder in ("bin", "etc", "usr/local/bin", "usr/local/src", "tmp", "root"):
        (root / folder).mkdir(parents=True)
    shutil.copy(busybox, root / "bin/busybox")
    for name in _BUSYBOX:
        (root / "bin" / name).symlink_to("busybox")
    _users(root)


def _javaenv(root: Path) -> None:
    with _above_debian(root) as merged:
        javaenv.fill(merged)
        _chaincode_folders(merged)


_MAKERS: Mapping[str, Callable[[Path], None]] = {
    "baseos": _baseos,
    "ccenv": _ccenv,
    "debian": _debian,
    "javaenv": _javaenv,
    "nodeenv": _nodeenv,
}


def _users(root: Path) -> None:
    (root / "etc/passwd").write_text(_USERS)
    (root / "etc/group").write_text(_GROUP)
    (root / "home/chaincode").mkdir(parents=True)
    (root / "tmp").mkdir(exist_ok=True)
    (root / "tmp").chmod(0o1777)
    run(["chown", "-R", "500:500", root / "home/chaincode"])


def _chaincode_folders(root: Path) -> None:
    """A daemon unpacks uploads into these; in a Pod they are volumes."""
    for name in ("input", "output"):
        (root / "chaincode" / name).mkdir(parents=True)
    run(["chown", "-R", "500:500", root / "chaincode"])


@contextmanager
def _above_debian(root: Path) -> Iterator[Path]:
    """What is written to the merged root is the layer above Debian's."""
    layer("debian")
    lower = _LAYERS / "debian.root"
    if not lower.exists():
        lower.mkdir()
        run(["tar", "-xpf", layer("debian"), "-C", lower])
    work, merged = Path(f"{root}.work"), Path(f"{root}.merged")
    for folder in (work, merged):
        folder.mkdir(exist_ok=True)
    options = f"lowerdir={lower},upperdir={root},workdir={work}"
    run(["mount", "-t", "overlay", "overlay", "-o", options, merged])
    try:
        yield merged
    finally:
        run(["umount", merged])
        shutil.rmtree(work)
        merged.rmdir()


def _discard(root: Path) -> None:
    for mount in (Path(f"{root}.merged"),):
        if mount.is_mount():
            run(["umount", mount])
    for folder in (root, Path(f"{root}.work"), Path(f"{root}.merged")):
        shutil.rmtree(folder, ignore_errors=True)


def _tar(root: Path, path: Path) -> None:
    flags = ["--sort=name", "--mtime=@0", "--numeric-owner"]
    run(["tar", *flags, "-cf", f"{path}.part", "-C", root, "."])
    Path(f"{path}.part").rename(path)


def _mirror() -> list[str]:
    """The mirror that this machine's own apt uses."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE)", "Codename: bookworm"],
        capture_output=True,
        text=True,
        check=False,
    )
    return listed.stdout.split()[:1]
