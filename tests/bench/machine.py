"""The machine that the figures are of."""

import json
import os
import platform
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path

from tests.lab.cluster import Cluster
from tests.lab.machine import LabError, run
from tests.lab.peitho import PROJECT


def describe(cluster: Cluster) -> dict[str, str]:
    """What a reader needs in order to compare."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "source": _source(),
        "CPU": _found(r"^model name\s*: (.*)$", "/proc/cpuinfo"),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": _memory(),
        "load average before": Path("/proc/loadavg").read_text().rsplit(" ", 2)[0],
        "kernel": platform.release(),
        "Python": platform.python_version(),
        "Kubernetes": _kubernetes_version(cluster),
        "dockerd": _dockerd_version(),
    }


def _found(pattern: str, file: str) -> str:
    found = re.search(pattern, Path(file).read_text(), re.MULTILINE)
    return found[1] if found else "0"


def _memory() -> str:
    kibibytes = int(_found(r"^MemTotal: +(\d+)", "/proc/meminfo"))
    return f"{kibibytes / 2**20:.1f} GiB"


def _source() -> str:
    try:
        return run(["git", "describe", "--always", "--dirty"], cwd=PROJECT).strip()
    except (LabError, OSError):
        return "not from a git checkout"


def _kubernetes_version(cluster: Cluster) -> str:
    answer = json.loads(cluster.run_kubectl("version", "-o", "json"))
    node = "one node of the lab, on this machine" if cluster.own else "a cluster that was there"
    return f"{answer['serverVersion']['gitVersion']} ({node})"


def _dockerd_version() -> str:
    path = f"{os.environ['PATH']}:/usr/sbin"  # noqa: TID251  where Debian has it
    return run([shutil.which("dockerd", path=path) or "dockerd", "--version"]).strip()
