"""
A Kubernetes whose nodes are simulated: a real API server and its controllers, and kwok as kubelet.

Pods are told to run, and no process is started: thousands of them cost a machine next to nothing.
It has a folder and ports of its own, so the one-node cluster may run beside it.
"""

import json
import shutil
import sys
from pathlib import Path

from tests.lab import cluster as lab
from tests.lab import components, pki
from tests.lab.cluster import Cluster
from tests.lab.machine import CACHE, go_program, install, require_root_on_linux, step
from tests.lab.processes import Processes

RUN = CACHE / "simulated"
API_PORT = 17443
NODES = 10

_ETCD_URL = "http://127.0.0.1:17379"
_ETCD_PEER_URL = "http://127.0.0.1:17380"
_HOST = "127.0.0.1"
_KWOK = Path(__file__).parent / "kwok"
_COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok")
# All of them share this machine with what is measured.
_NICE = ("nice", "-n", "5")
_QUICK = ("--kube-api-qps=500", "--kube-api-burst=1000", "--leader-elect=false", "--secure-port=0")
# Nodes without heartbeats: nobody looks for them, so nobody says that they are not ready.
_NO_HEARTBEATS = "--controllers=*,-node-lifecycle-controller,-node-ipam-controller"

_processes = Processes(RUN)


def up() -> Cluster:
    """The cluster, running; brought up if it is not."""
    require_root_on_linux()
    install()
    node, kwok = lab.build_node(), build_kwok()
    found = _cluster(node)
    if not all(_processes.pid(name) for name in _COMPONENTS):
        down()
        with step("starting a Kubernetes of simulated nodes"):
            _start(node, kwok)
            found.apply(*(_node(number) for number in range(NODES)))
    return found


def down() -> None:
    """Stop it, and drop its state."""
    for name in reversed(_COMPONENTS):
        _processes.stop(name)
    shutil.rmtree(RUN / "etcd", ignore_errors=True)


def build_kwok() -> Path:
    """The kwok binary, from the cache or built."""
    return go_program(_KWOK, "sigs.k8s.io/kwok/cmd/kwok", takes="2 minutes")


def _cluster(node: Path) -> Cluster:
    kubeconfig = RUN / "kubeconfig"
    kubectl = (str(node), "kubectl", "--kubeconfig", str(kubeconfig))
    return Cluster(kubeconfig, host_address=_HOST, kubectl=kubectl, own=True)


def _start(node: Path, kwok: Path) -> None:
    for folder in ("log", "etcd"):
        (RUN / folder).mkdir(parents=True, exist_ok=True)
    pki.make(RUN / "pki", host=_HOST, node="simulated")
    components.write_kubeconfigs(RUN, API_PORT)
    for name, command in _commands(node, kwok).items():
        _processes.launch(name, [*_NICE, *command])
        if name == "etcd":
            lab.until("etcd", lambda: lab.answers(f"{_ETCD_URL}/health"), logs=RUN)
        if name == "kube-apiserver":
            lab.until("the API server", lambda: lab.api_ready(RUN, API_PORT), logs=RUN)


def _commands(node: Path, kwok: Path) -> dict[str, list[str]]:
    key = f"{RUN}/pki/sa.key"
    return {
        "etcd": components.etcd(RUN, _ETCD_URL, _ETCD_PEER_URL),
        "kube-apiserver": [
            *components.api_server(node, RUN, etcd=_ETCD_URL, port=API_PORT, host=_HOST),
            "--disable-admission-plugins=TaintNodesByCondition",
            # Debian's etcd is too old for lists by watch: kwok would try one after the other.
            "--feature-gates=WatchList=false",
            # What a request is about, for who counts them; bodies are not kept.
            f"--audit-policy-file={_policy()}",
            f"--audit-log-path={RUN}/log/audit.log",
        ],
        "kube-controller-manager": [
            *(str(node), "kube-controller-manager", *_QUICK, "--concurrent-job-syncs=20"),
            _NO_HEARTBEATS,
            f"--kubeconfig={RUN}/controller-manager.kubeconfig",
            *(f"--root-ca-file={RUN}/pki/ca.crt", f"--service-account-private-key-file={key}"),
            "--use-service-account-credentials",
        ],
        "kube-scheduler": [
            *(str(node), "kube-scheduler", *_QUICK),
            f"--kubeconfig={RUN}/scheduler.kubeconfig",
        ],
        "kwok": [
            *(str(kwok), f"--kubeconfig={RUN}/kubeconfig", "--manage-all-nodes"),
            *("--config", str(_KWOK / "stages.yaml"), "--node-lease-duration-seconds=0"),
        ],
    }


def _policy() -> Path:
    path = RUN / "audit.json"
    rules = [
        {"level": "Metadata", "users": ["system:serviceaccount:scale:peitho"]},
        {"level": "None"},
    ]
    stages = ["RequestReceived", "Panic"]
    policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": stages}
    path.write_text(json.dumps(policy | {"rules": rules}))
    return path


def _node(number: int) -> dict[str, object]:
    name = f"simulated-{number}"
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/arch": "amd64"}},
        "spec": {},
    }


def main() -> None:
    """`python -m tests.lab.simulated up|down`."""
    match sys.argv[1:]:
        case ["up"]:
            print(f"export KUBECONFIG={up().kubeconfig}")
        case ["down"]:
            down()
        case _:
            sys.exit("usage: python -m tests.lab.simulated up|down")


if __name__ == "__main__":
    main()
