"""
A network that holds NetworkPolicies: kube-router's firewall on the one node, while it is needed.

The bridge of the node's Pods knows no policies. kube-router makes iptables rules of them; the
packets of Pods pass those on the bridge as well.
"""

import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from tests.lab import cluster as lab
from tests.lab.cluster import Cluster
from tests.lab.components import NODE, RUN, SERVICE_CIDR
from tests.lab.machine import LabError, go_program, run
from tests.lab.processes import Processes

_NAME = "kube-router"
_CHAINS = ("KUBE-ROUTER-", "KUBE-NWPLCY-", "KUBE-POD-FW-")
_SETS = ("KUBE-SRC-", "KUBE-DST-")
_SOURCE = Path(__file__).parent / "router"
_SEEN_BRIDGE = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
# What goes nowhere is dropped or refused; what arrives does so in a millisecond.
_CONNECT_SECONDS = 1.5
_CONNECT = (
    "import socket, sys; "
    "socket.create_connection((sys.argv[1], int(sys.argv[2])), float(sys.argv[3]))"
)

_processes = Processes(RUN)


def build_router() -> Path:
    """kube-router, from the cache or built."""
    return go_program(
        _SOURCE, "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router", takes="5 minutes"
    )


@contextmanager
def enforcing(cluster: Cluster) -> Iterator[None]:
    """NetworkPolicies hold in the lab's own cluster; its rules are gone at the end."""
    if not cluster.own:
        raise LabError("the network of a cluster that is not the lab's is not touched")
    if not _SEEN_BRIDGE.exists() or _SEEN_BRIDGE.read_text().strip() != "1":
        raise LabError("this kernel does not show packets on a bridge to iptables")
    router = str(build_router())
    _processes.launch(
        _NAME,
        [
            *(router, f"--kubeconfig={cluster.kubeconfig}", f"--hostname-override={NODE}"),
            *("--run-router=false", "--run-service-proxy=false", "--run-firewall=true"),
            *(f"--service-cluster-ip-range={SERVICE_CIDR}", "--health-port=0"),
        ],
    )
    try:
        yield
    finally:
        _processes.stop(_NAME)
        _forget_rules()


def reaches(pod: dict[str, Any], address: str, port: int) -> bool:
    """Whether a connection from within a Pod's network is accepted."""
    inside = ("nsenter", "-t", str(_pid(_container_id(pod))), "-n")
    connect = (sys.executable, "-S", "-c", _CONNECT, address, str(port), str(_CONNECT_SECONDS))
    done = subprocess.run([*inside, *connect], capture_output=True, check=False)
    return done.returncode == 0


def _forget_rules() -> None:
    """
    Drop chains and sets of kube-router.

    Its own `--cleanup-config` takes IPVS for granted, which this kernel may not have.
    """
    iptables = ("iptables", "-w")
    rules = [shlex.split(line) for line in run([*iptables, "-S"]).splitlines()]
    for rule in rules:
        if rule[0] == "-A" and rule[-1].startswith(_CHAINS) and not rule[1].startswith(_CHAINS):
            run([*iptables, "-D", *rule[1:]])
    chains = [rule[1] for rule in rules if rule[0] == "-N" and rule[1].startswith(_CHAINS)]
    for order in ("-F", "-X"):
        for chain in chains:
            run([*iptables, order, chain])
    for name in run(["ipset", "list", "-n"]).split():
        if name.startswith(_SETS):
            run(["ipset", "destroy", name])


def _container_id(pod: dict[str, Any]) -> str:
    for status in pod["status"]["containerStatuses"]:
        if "running" in status["state"]:
            return str(status["containerID"]).removeprefix("containerd://")
    raise LabError(f"the Pod {pod['metadata']['name']} does not run")


@cache
def _pid(container_id: str) -> int:
    for line in run([*lab.ctr(), "tasks", "list"]).splitlines():
        name, pid, *_ = line.split()
        if name == container_id:
            return int(pid)
    raise LabError(f"no process of the container {container_id}")
