"""Requests to a Docker daemon: the container of a build, and a pull."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from peitho.formats.kubernetes.labels import KIND, former_labels, own_labels
from peitho.formats.kubernetes.quantities import number
from peitho.formats.records import BUILD, ContainerSpec

Json = dict[str, Any]

# Package managers that run as root (nodeenv's npm, apt) need to give files and themselves to
# another user.  The rest of Docker's default set is for servers, or for what reaches past a build.
_CAPABILITIES = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"]
_PROCESSES = 4096
# Several namespaces may share a daemon: this label says whose a container is.
_NAMESPACE = "peitho/namespace"
_CPU_PERIOD_MICROSECONDS = 100_000


@dataclass(frozen=True, slots=True)
class DaemonBuildLimits:
    """What a build's container may use; quantities are Kubernetes'."""

    network: str
    memory_limit: str = ""
    cpu_limit: str = ""


@dataclass(frozen=True, slots=True)
class DaemonBuildOwner:
    """Whose builds these are, among all that a daemon runs, and what they may use."""

    instance: str
    namespace: str
    limits: DaemonBuildLimits

    def labels(self) -> dict[str, str]:
        """Return the labels of all our builds in the daemon, and of no other container."""
        return own_labels(self.instance) | self._place

    def former_labels(self) -> dict[str, str]:
        """Return the labels of builds that an earlier Peitho began."""
        return former_labels(self.instance) | self._place

    @property
    def _place(self) -> dict[str, str]:
        return {KIND: BUILD, _NAMESPACE: self.namespace}


def build_container(
    spec: ContainerSpec, *, labels: Mapping[str, str], limits: DaemonBuildLimits
) -> Json:
    """
    Return the body that creates a build's container.

    Only image, command, variables, working directory, memory and CPU come from the peer's request:
    no mounts, devices, privilege or namespaces can.
    """
    return {
        "Image": spec.image,
        "Cmd": list(spec.command),
        "Entrypoint": list(spec.entrypoint) or None,
        "Env": list(spec.env),
        "WorkingDir": spec.working_directory,
        "Labels": dict(labels),
        "AttachStdout": True,
        "AttachStderr": True,
        "HostConfig": _resources(spec, limits)
        | {
            "NetworkMode": limits.network,
            "CapDrop": ["ALL"],
            "CapAdd": _CAPABILITIES,
            "SecurityOpt": ["no-new-privileges"],
            "PidsLimit": _PROCESSES,
            # Peitho keeps the output itself; nobody reads the daemon's log.
            "LogConfig": {"Type": "none", "Config": {}},
        },
    }


def _resources(spec: ContainerSpec, limits: DaemonBuildLimits) -> Json:
    memory_bytes = int(number(limits.memory_limit)) or max(spec.host.memory_bytes, 0)
    resources = {"Memory": memory_bytes}
    if cpus := number(limits.cpu_limit) or Decimal(spec.host.cpu_limit_millis) / 1000:
        # NanoCpus would do, from API 1.25 on.
        resources["CpuPeriod"] = _CPU_PERIOD_MICROSECONDS
        resources["CpuQuota"] = int(cpus * _CPU_PERIOD_MICROSECONDS)
    return resources


def pull_error(line: bytes) -> str:
    """Return the error in a line of a pull's progress; empty if there is none."""
    try:
        message = json.loads(line)
        return str(message.get("error") or "")
    except (ValueError, AttributeError):
        return f"not a line of progress: {line[:200]!r}"
