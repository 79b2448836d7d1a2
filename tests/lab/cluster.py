"""
A real one-node Kubernetes: the one that KUBECONFIG names, or one brought up on this machine.

Control plane and kubelet come from the Go module proxy (`node/`), the rest from Debian.  Everything
lives in one folder and is stopped by its own pid files.  There is no cluster DNS: Pods reach
Services by address.
"""

import fcntl
import hashlib
import json
import os
import shutil
import signal
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

from tests.lab import pki
from tests.lab.machine import CACHE, LabError, go, install, require_root_on_linux, run, step

VERSION = "1.35.4"
HOST_ADDRESS = "10.88.0.1"
NODE = "peitho-node"

_HERE = Path(__file__).parent
_RUN = CACHE / "cluster"
_BRIDGE = "peitho0"
_BRIDGE_MAC = "0a:58:0a:58:00:01"
_POD_CIDR = "10.88.0.0/16"
_SERVICE_CIDR = "10.96.0.0/16"
_API_PORT = 16443
_ETCD_PORT = 12379
_COMPONENTS = (
    "etcd",
    "containerd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
)
_READY_SECONDS = 90.0
_STOP_SECONDS = 20.0


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
    with _lock():
        binary = build_node()
        cluster = _own(binary)
        if not _healthy():
            _stop_all()
            with step("starting Kubernetes"):
                _start(binary)
                _await("the node", _node_ready(cluster))
        return cluster


def is_up() -> bool:
    """Whether there is a cluster already: a named one, or our own."""
    return bool(os.environ.get("KUBECONFIG")) or _healthy()  # noqa: TID251


def down() -> None:
    """Stop the cluster that we brought up, and drop its state; images stay in the cache."""
    with _lock():
        _stop_all()
        for folder in ("etcd", "kubelet", "containerd", "state", "cni-state", "volumes"):
            shutil.rmtree(_RUN / folder, ignore_errors=True)


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
    return _RUN / "containerd" / "loaded" / what


def ctr() -> list[str]:
    """The command line of our containerd."""
    return ["ctr", "-a", str(_RUN / "containerd.sock"), "-n", "k8s.io"]


def volume(name: str, namespace: str) -> dict[str, object]:
    """A PersistentVolume on this machine for the claim of that name: there is no provisioner."""
    folder = _RUN / "volumes" / f"{namespace}-{name}"
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
    shutil.rmtree(_RUN / "volumes" / f"{namespace}-{name}", ignore_errors=True)


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
    kubeconfig = _RUN / "kubeconfig"
    return Cluster(
        kubeconfig=kubeconfig,
        host_address=HOST_ADDRESS,
        kubectl=(str(binary), "kubectl", "--kubeconfig", str(kubeconfig)),
        own=True,
    )


def _start(binary: Path) -> None:
    for folder in ("log", "kubelet", "cni", "etcd"):
        (_RUN / folder).mkdir(parents=True, exist_ok=True)
    _bridge()
    pki.make(_RUN / "pki", host=HOST_ADDRESS, node=NODE)
    for user in ("admin", "controller-manager", "scheduler", "proxy", "kubelet"):
        name = "kubeconfig" if user == "admin" else f"{user}.kubeconfig"
        (_RUN / name).write_text(json.dumps(_kubeconfig(user)))
        (_RUN / name).chmod(0o600)
    _write_configurations()
    for name, command in _commands(binary).items():
        _launch(name, command)
        if name == "etcd":
            _await("etcd", lambda: _answers(f"http://127.0.0.1:{_ETCD_PORT}/health"))
        if name == "containerd":
            _await("containerd", lambda: _listens(_RUN / "containerd.sock"))
            _import_pause()
        if name == "kube-apiserver":
            _await("the API server", _api_ready)


def _commands(binary: Path) -> dict[str, list[str]]:
    pki_folder, node = _RUN / "pki", str(binary)
    ca, key = f"{pki_folder}/ca.crt", f"{pki_folder}/ca.key"
    etcd = f"http://127.0.0.1:{_ETCD_PORT}"
    return {
        "etcd": [
            *("etcd", f"--data-dir={_RUN}/etcd", "--unsafe-no-fsync"),
            *(f"--listen-client-urls={etcd}", f"--advertise-client-urls={etcd}"),
            "--listen-peer-urls=http://127.0.0.1:12380",
        ],
        "containerd": ["containerd", "--config", f"{_RUN}/containerd.toml"],
        "kube-apiserver": [
            *(node, "kube-apiserver", f"--etcd-servers={etcd}", f"--secure-port={_API_PORT}"),
            f"--advertise-address={HOST_ADDRESS}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--service-cluster-ip-range={_SERVICE_CIDR}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            f"--client-ca-file={ca}",
            f"--tls-cert-file={pki_folder}/apiserver.crt",
            f"--tls-private-key-file={pki_folder}/apiserver.key",
            f"--kubelet-client-certificate={pki_folder}/admin.crt",
            f"--kubelet-client-key={pki_folder}/admin.key",
            f"--kubelet-certificate-authority={ca}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={pki_folder}/sa.pub",
            f"--service-account-signing-key-file={pki_folder}/sa.key",
        ],
        "kube-controller-manager": [
            *(node, "kube-controller-manager", "--leader-elect=false"),
            f"--kubeconfig={_RUN}/controller-manager.kubeconfig",
            f"--root-ca-file={ca}",
            f"--service-account-private-key-file={pki_folder}/sa.key",
            f"--cluster-signing-cert-file={ca}",
            f"--cluster-signing-key-file={key}",
            "--use-service-account-credentials",
        ],
        "kube-scheduler": [
            *(node, "kube-scheduler", "--leader-elect=false"),
            f"--kubeconfig={_RUN}/scheduler.kubeconfig",
        ],
        "kubelet": [
            *(node, "kubelet", f"--config={_RUN}/kubelet.json"),
            f"--kubeconfig={_RUN}/kubelet.kubeconfig",
            *(f"--hostname-override={NODE}", f"--node-ip={HOST_ADDRESS}"),
            f"--root-dir={_RUN}/kubelet",
        ],
        "kube-proxy": [
            *(node, "kube-proxy", f"--kubeconfig={_RUN}/proxy.kubeconfig"),
            *(f"--hostname-override={NODE}", f"--cluster-cidr={_POD_CIDR}"),
            # Pods answer each other over the bridge, past the translation, unless it sees bridges.
            *(() if _bridges_filtered() else ("--masquerade-all",)),
            *("--conntrack-max-per-core=0", "--healthz-bind-address=127.0.0.1:10256"),
        ],
    }


def _bridges_filtered() -> bool:
    return Path("/proc/sys/net/bridge/bridge-nf-call-iptables").exists()


def _write_configurations() -> None:
    (_RUN / "containerd.toml").write_text(
        f"""version = 2
root = "{_RUN}/containerd"
state = "{_RUN}/state"
[grpc]
  address = "{_RUN}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/local/pause:1"
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "{_RUN}/cni"
"""
    )
    (_RUN / "cni" / "10-bridge.conflist").write_text(
        json.dumps(
            {
                "cniVersion": "0.4.0",
                "name": "peitho",
                "plugins": [
                    {
                        "type": "bridge",
                        "bridge": _BRIDGE,
                        "isGateway": True,
                        "hairpinMode": True,
                        "ipam": {
                            "type": "host-local",
                            "ranges": [[{"subnet": _POD_CIDR, "rangeStart": "10.88.1.1"}]],
                            "routes": [{"dst": "0.0.0.0/0"}],
                            "dataDir": str(_RUN / "cni-state"),
                        },
                    },
                    {"type": "portmap", "capabilities": {"portMappings": True}},
                ],
            }
        )
    )
    (_RUN / "kubelet.json").write_text(
        json.dumps(
            {
                "apiVersion": "kubelet.config.k8s.io/v1beta1",
                "kind": "KubeletConfiguration",
                "address": HOST_ADDRESS,
                "authentication": {
                    "anonymous": {"enabled": False},
                    "webhook": {"enabled": True},
                    "x509": {"clientCAFile": f"{_RUN}/pki/ca.crt"},
                },
                "authorization": {"mode": "Webhook"},
                "cgroupDriver": "cgroupfs",
                "containerRuntimeEndpoint": f"unix://{_RUN}/containerd.sock",
                "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%"},
                "failCgroupV1": False,
                "failSwapOn": False,
                "imageGCHighThresholdPercent": 100,
                "maxPods": 250,
                "registerWithTaints": [],
                "resolvConf": "/dev/null",
                "serializeImagePulls": False,
                "tlsCertFile": f"{_RUN}/pki/kubelet.crt",
                "tlsPrivateKeyFile": f"{_RUN}/pki/kubelet.key",
            }
        )
    )


def _kubeconfig(user: str) -> dict[str, object]:
    folder = _RUN / "pki"
    cluster = {
        "server": f"https://127.0.0.1:{_API_PORT}",
        "certificate-authority": f"{folder}/ca.crt",
    }
    credentials = {
        "client-certificate": f"{folder}/{user}.crt",
        "client-key": f"{folder}/{user}.key",
    }
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": cluster}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": user}}],
        "current-context": "lab",
    }


def _bridge() -> None:
    """The bridge of the Pods, with this machine's address on it, before the first Pod is there."""
    if not Path(f"/sys/class/net/{_BRIDGE}").exists():
        run(["ip", "link", "add", _BRIDGE, "type", "bridge"])
        run(["ip", "address", "add", f"{HOST_ADDRESS}/16", "dev", _BRIDGE])
    # A bridge takes the lowest address of its ports, so each Pod that came or went could change
    # it, and packets of the others were lost until they asked anew.
    run(["ip", "link", "set", _BRIDGE, "address", _BRIDGE_MAC])
    run(["ip", "link", "set", _BRIDGE, "up"])
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def _import_pause() -> None:
    from tests.lab import images  # noqa: PLC0415  images brings what it makes here

    run([*ctr(), "images", "import", images.pause()])


def _launch(name: str, command: list[str]) -> None:
    """
    Start a process that stays when this one ends, with a pid file.

    Not by `subprocess.Popen`, which warns of every process that nobody waits for.
    """
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"  # noqa: TID251
    log, append = str(_RUN / "log" / f"{name}.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND
    pid = os.posix_spawn(
        "/usr/bin/env",
        ["env", f"--chdir={_RUN}", *command],
        os.environ | {"PATH": path},  # noqa: TID251
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, append, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    (_RUN / f"{name}.pid").write_text(f"{pid} {_started(pid)}")


def _stop_all() -> None:
    """In the reverse order; Pods first, while there is a containerd to stop them."""
    if _alive("containerd"):
        _stop("kubelet")
        _stop_pods()
    for name in reversed(_COMPONENTS):
        _stop(name)
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
    for mount in reversed([each for each in mounts if each.startswith(f"{_RUN}/")]):
        subprocess.run(["umount", "-l", mount], capture_output=True, check=False)


def _stop(name: str) -> None:
    """End the process of a pid file, and wait until it is gone: the next one wants its port."""
    pid = _alive(name)
    if pid:
        os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + _STOP_SECONDS
        while _alive(name):
            if time.monotonic() > end:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
    (_RUN / f"{name}.pid").unlink(missing_ok=True)


def _alive(name: str) -> int:
    """The pid of a process that we started, or 0; a pid that another process has now is not it."""
    try:
        pid, started = (_RUN / f"{name}.pid").read_text().split()
    except (FileNotFoundError, ValueError):
        return 0
    return int(pid) if _started(int(pid)) == started else 0


def _started(pid: int) -> str:
    """When a process began, in the kernel's ticks; empty if it is gone, or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def _healthy() -> bool:
    return all(_alive(name) for name in _COMPONENTS) and _api_ready()


def _api_ready() -> bool:
    try:
        context = ssl.create_default_context(cafile=str(_RUN / "pki" / "ca.crt"))
        context.load_cert_chain(_RUN / "pki" / "admin.crt", _RUN / "pki" / "admin.key")
    except OSError:
        return False
    return _answers(f"https://127.0.0.1:{_API_PORT}/readyz", context)


def _answers(url: str, context: ssl.SSLContext | None = None) -> bool:
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


def _await(what: str, condition: Callable[[], bool]) -> None:
    end = time.monotonic() + _READY_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise LabError(f"{what} is not ready after {_READY_SECONDS:g} s; see {_RUN}/log")
        time.sleep(0.1)


@contextmanager
def _lock() -> Iterator[None]:
    """One at a time: two that start the cluster would each have half of it."""
    _RUN.mkdir(parents=True, exist_ok=True)
    with (_RUN / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main() -> None:
    """`python -m tests.lab.cluster up|down|status`."""
    match sys.argv[1:]:
        case ["up"]:
            cluster = up()
            print(f"export KUBECONFIG={cluster.kubeconfig}")
        case ["down"]:
            down()
        case ["status"]:
            for name in _COMPONENTS:
                print(f"{name:24} {_alive(name) or 'not running'}")
        case _:
            sys.exit("usage: python -m tests.lab.cluster up|down|status")


if __name__ == "__main__":
    main()
