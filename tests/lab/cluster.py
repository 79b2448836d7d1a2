"""
A real one-node Kubernetes: the one that KUBECONFIG names, or one brought up on this machine.

Control plane and kubelet come from the Go module proxy (`node/`), containerd and runc too
(`runtime.py`), the rest from Debian.  Everything lives in one folder and is stopped by its own pid
files.  There is no cluster DNS: Pods reach Services by address.
"""

import fcntl
import hashlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightkube.config.client_adapter import Client, ConnectionParams
from lightkube.config.kubeconfig import KubeConfig

from tests.lab import components, pki, runtime
from tests.lab.components import (
    API_PORT,
    BRIDGE,
    COMPONENTS,
    ETCD_URL,
    HOST_ADDRESS,
    NODE,
    RUN,
    STATE,
)
from tests.lab.machine import (
    CACHE,
    LabError,
    go,
    install,
    one_at_a_time,
    require_root_on_linux,
    run,
    step,
)
from tests.lab.processes import Processes

VERSION = "1.35.4"

_HERE = Path(__file__).parent
_BRIDGE_MAC = "0a:58:0a:58:00:01"
_READY_SECONDS = 90.0
_BUSY_SECONDS = 30.0
# Which containerd the node was started with.
_RUNTIME = RUN / "runtime"

_processes = Processes(RUN)


@dataclass(frozen=True, slots=True)
class Cluster:
    """A Kubernetes; `host_address` is where Pods reach this machine; `own` if we brought it up."""

    kubeconfig: Path
    host_address: str
    kubectl: tuple[str, ...]
    own: bool

    def run_kubectl(self, *words: str, stdin: str | None = None) -> str:
        """What `kubectl WORDS` prints."""
        return run([*self.kubectl, *words], stdin=stdin)

    def find(self, path: str, *, labels: str = "") -> list[dict[str, Any]]:
        """The objects of a collection, by its path in the API: ten times as fast as kubectl."""
        config = KubeConfig.from_file(self.kubeconfig).get()
        if config is None:
            raise LabError(f"{self.kubeconfig} has no current context")
        with Client(config, ConnectionParams()) as client:
            answer = client.get(path, params={"labelSelector": labels})
        if answer.is_error:
            raise LabError(f"{path}: {answer.status_code}: {answer.text}")
        found: list[dict[str, Any]] = answer.json()["items"]
        return found

    def apply(self, *manifests: dict[str, object]) -> None:
        """`kubectl apply` of manifests."""
        content = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})
        self.run_kubectl("apply", "-f", "-", stdin=content)


def up() -> Cluster:
    """The cluster, running; brought up if it is not."""
    if named := os.environ.get("KUBECONFIG"):  # noqa: TID251
        return _named(Path(named))
    require_root_on_linux()
    install()
    with one_at_a_time("cluster"):
        binary = build_node()
        runtime.build()
        cluster = _own(binary)
        if not _healthy():
            _stop_all()
            with step("starting Kubernetes"):
                _start(binary)
                until("the node", _node_ready(cluster))
        return cluster


@contextmanager
def shared(prepare: Callable[[], None]) -> Iterator[Cluster]:
    """
    The cluster, prepared, for one of the processes that use it at the same time.

    Whoever brought it up takes it down once no other one uses it.
    """
    RUN.mkdir(parents=True, exist_ok=True)
    with (RUN / "users").open("w") as users:
        with one_at_a_time("preparation"):
            was_up = is_up()
            found = up()
            prepare()
            fcntl.flock(users, fcntl.LOCK_SH)
        yield found
        if not was_up:
            fcntl.flock(users, fcntl.LOCK_EX)
            down()


def is_up() -> bool:
    """Whether there is a cluster already: a named one, or our own."""
    return bool(os.environ.get("KUBECONFIG")) or _healthy()  # noqa: TID251


def down() -> None:
    """Stop the cluster that we brought up, and drop its state; images stay in the cache."""
    with one_at_a_time("cluster"):
        _stop_all()
        for folder in ("etcd", "kubelet", "containerd", "cni-state", "volumes"):
            shutil.rmtree(RUN / folder, ignore_errors=True)
        shutil.rmtree(STATE, ignore_errors=True)


def load(archive: Path) -> None:
    """Bring images from a docker archive to the node."""
    if named := os.environ.get("KUBECONFIG"):  # noqa: TID251
        if not (name := _kind(named)):
            raise LabError("images cannot be loaded into this cluster: set IMAGE= to Peitho's")
        run(["kind", "load", "image-archive", archive, "--name", name])
        return
    run([*ctr(), "images", "import", "--no-unpack", archive])


def marker(what: str) -> Path:
    """The file that remembers which images the node has."""
    if named := os.environ.get("KUBECONFIG"):  # noqa: TID251
        return CACHE / "loaded" / hashlib.sha256(named.encode()).hexdigest()[:12] / what
    return RUN / "containerd" / "loaded" / what


def ctr() -> list[str]:
    """The command line of our containerd."""
    return [str(runtime.folder() / "ctr"), "-a", str(RUN / "containerd.sock"), "-n", "k8s.io"]


def volume(name: str, namespace: str) -> dict[str, object]:
    """A PersistentVolume on this machine for the claim of that name: there is no provisioner."""
    folder = RUN / "volumes" / f"{namespace}-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o777)  # the kubelet gives a hostPath volume no group
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"{namespace}-{name}"},
        "spec": {
            "capacity": {"storage": "10Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "",
            "hostPath": {"path": str(folder)},
            "claimRef": {"namespace": namespace, "name": name},
        },
    }


def discard_volume(name: str, namespace: str) -> None:
    """Drop what a volume holds; the PersistentVolume itself is the caller's."""
    shutil.rmtree(RUN / "volumes" / f"{namespace}-{name}", ignore_errors=True)


@one_at_a_time("node")
def build_node() -> Path:
    """The binary with all of Kubernetes, from the cache or built: minutes on a new machine."""
    source = _HERE / "node"
    key = hashlib.sha256(
        b"".join((source / name).read_bytes() for name in ("main.go", "go.mod", "go.sum"))
    ).hexdigest()[:12]
    binary = CACHE / f"kubernetes-{VERSION}-{key}" / "node"
    if binary.exists():
        return binary
    binary.parent.mkdir(parents=True, exist_ok=True)
    stamp = f"-X k8s.io/component-base/version.gitVersion=v{VERSION}"
    stamp += " -X k8s.io/component-base/version.gitMajor=1"
    stamp += " -X k8s.io/component-base/version.gitMinor=35"
    with step("building Kubernetes (once: 7 to 12 minutes)"):
        command = [*go(), "build", "-v", "-o", f"{binary}.part", "-ldflags", f"-s -w {stamp}", "."]
        _with_progress(command, cwd=source)
    Path(f"{binary}.part").rename(binary)
    return binary


def _with_progress(command: list[str], *, cwd: Path) -> None:
    """`go build -v` names each package as it begins; show how many, every few seconds."""
    environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false"}  # noqa: TID251
    began = shown = time.monotonic()
    last: list[str] = []
    with subprocess.Popen(
        command, cwd=cwd, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        for count, line in enumerate(process.stderr or (), 1):
            last = [*last[-20:], line]
            if time.monotonic() - shown > 10:
                shown = time.monotonic()
                print(f"lab:   {count} packages, {shown - began:.0f} s", flush=True)
    if process.returncode:
        raise LabError(f"Kubernetes did not build:\n{''.join(last)}")


def _named(kubeconfig: Path) -> Cluster:
    kubectl = shutil.which("kubectl")
    if not kubectl:
        raise LabError("KUBECONFIG is set, and kubectl is missing")
    cluster = Cluster(
        kubeconfig=kubeconfig,
        host_address=os.environ.get("HOST_ADDRESS") or _gateway(kubeconfig),  # noqa: TID251
        kubectl=(kubectl, "--kubeconfig", str(kubeconfig)),
        own=False,
    )
    cluster.run_kubectl("get", "--raw", "/readyz")
    return cluster


def _gateway(kubeconfig: Path) -> str:
    """Where Pods of a kind cluster reach this machine; of others nobody can tell."""
    if not _kind(str(kubeconfig)):
        raise LabError("set HOST_ADDRESS to the address at which Pods reach this machine")
    template = '{{range .IPAM.Config}}{{.Gateway}}{{"\\n"}}{{end}}'
    found = run(["docker", "network", "inspect", "kind", "-f", template]).split()
    return next(address for address in found if "." in address)


def _kind(kubeconfig: str) -> str:
    """The name of the kind cluster that a kubeconfig's context is for, or empty."""
    context = run(["kubectl", "--kubeconfig", kubeconfig, "config", "current-context"]).strip()
    return context.removeprefix("kind-") if context.startswith("kind-") else ""


def _own(binary: Path) -> Cluster:
    kubeconfig = RUN / "kubeconfig"
    return Cluster(
        kubeconfig=kubeconfig,
        host_address=HOST_ADDRESS,
        kubectl=(str(binary), "kubectl", "--kubeconfig", str(kubeconfig)),
        own=True,
    )


def _start(binary: Path) -> None:
    for folder in ("log", "kubelet", "cni", "etcd"):
        (RUN / folder).mkdir(parents=True, exist_ok=True)
    _bridge()
    pki.make(RUN / "pki", host=HOST_ADDRESS, node=NODE)
    components.write_configurations()
    for name, command in components.commands(binary, runtime.folder()).items():
        _processes.launch(name, command)
        if name == "etcd":
            until("etcd", lambda: answers(f"{ETCD_URL}/health"))
        if name == "containerd":
            until("containerd", lambda: _listens(RUN / "containerd.sock"))
            _import_pause()
        if name == "kube-apiserver":
            until("the API server", _api_ready)
    _RUNTIME.write_text(runtime.folder().name)


def _bridge() -> None:
    """The bridge of the Pods, with this machine's address on it, before the first Pod is there."""
    if not Path(f"/sys/class/net/{BRIDGE}").exists():
        run(["ip", "link", "add", BRIDGE, "type", "bridge"])
        run(["ip", "address", "add", f"{HOST_ADDRESS}/16", "dev", BRIDGE])
    # A bridge takes the lowest address of its ports, so each Pod that came or went could change
    # it, and packets of the others were lost until they asked anew.
    run(["ip", "link", "set", BRIDGE, "address", _BRIDGE_MAC])
    run(["ip", "link", "set", BRIDGE, "up"])
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def _import_pause() -> None:
    from tests.lab import images  # noqa: PLC0415  images brings what it makes here

    run([*ctr(), "images", "import", images.pause()])


def _stop_all() -> None:
    """In the reverse order; Pods first, while there is a containerd to stop them."""
    if _processes.pid("containerd"):
        _processes.stop("kubelet")
        _stop_pods()
    for name in reversed(COMPONENTS):
        _processes.stop(name)
    _unmount()


def _stop_pods() -> None:
    listed = subprocess.run(
        [*ctr(), "tasks", "list", "-q"], capture_output=True, text=True, check=False
    )
    for task in listed.stdout.split():
        subprocess.run(
            [*ctr(), "tasks", "kill", "-s", "KILL", task], capture_output=True, check=False
        )
        subprocess.run([*ctr(), "tasks", "delete", "-f", task], capture_output=True, check=False)
        subprocess.run([*ctr(), "containers", "delete", task], capture_output=True, check=False)


def _unmount() -> None:
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in reversed([each for each in mounts if each.startswith((f"{RUN}/", f"{STATE}/"))]):
        subprocess.run(["umount", "-l", mount], capture_output=True, check=False)


def _healthy() -> bool:
    """
    Whether all runs, with the containerd of today's lab.

    On a busy machine an answer may take a while: others use what would be started anew.
    """
    if not _RUNTIME.exists() or _RUNTIME.read_text() != runtime.folder().name:
        return False
    end = time.monotonic() + _BUSY_SECONDS
    while all(_processes.pid(name) for name in COMPONENTS):
        if _api_ready():
            return True
        if time.monotonic() > end:
            break
        time.sleep(0.5)
    return False


def _api_ready() -> bool:
    return api_ready(RUN, API_PORT)


def api_ready(folder: Path, port: int) -> bool:
    """Whether the API server at a port is ready; its certificates are in a folder."""
    try:
        context = ssl.create_default_context(cafile=str(folder / "pki" / "ca.crt"))
        context.load_cert_chain(folder / "pki" / "admin.crt", folder / "pki" / "admin.key")
    except OSError:
        return False
    return answers(f"https://127.0.0.1:{port}/readyz", context)


def answers(url: str, context: ssl.SSLContext | None = None) -> bool:
    """Whether a GET is answered with 200."""
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    try:
        with opener.open(url, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def _listens(path: Path) -> bool:
    """Whether someone is behind a socket; the file alone may be of a process that was killed."""
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(str(path)) == 0


def _node_ready(cluster: Cluster) -> Callable[[], bool]:
    path = "{.status.conditions[?(@.type=='Ready')].status}"

    def ready() -> bool:
        try:
            return cluster.run_kubectl("get", "node", NODE, "-o", f"jsonpath={path}") == "True"
        except LabError:
            return False

    return ready


def until(what: str, condition: Callable[[], bool], *, logs: Path = RUN) -> None:
    """Return once a condition holds. Raises LabError after a while."""
    end = time.monotonic() + _READY_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise LabError(f"{what} is not ready after {_READY_SECONDS:g} s; see {logs}/log")
        time.sleep(0.1)


def main() -> None:
    """`python -m tests.lab.cluster up|down|status`."""
    match sys.argv[1:]:
        case ["up"]:
            cluster = up()
            print(f"export KUBECONFIG={cluster.kubeconfig}")
        case ["down"]:
            down()
        case ["status"]:
            for name in COMPONENTS:
                print(f"{name:24} {_processes.pid(name) or 'not running'}")
        case _:
            sys.exit("usage: python -m tests.lab.cluster up|down|status")


if __name__ == "__main__":
    main()
