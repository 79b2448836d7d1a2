"""What a container may use: the peer's `HostConfig` and the operator's settings, as Kubernetes'."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Manifest = dict[str, Any]

_NANO_PER_MILLI = 1_000_000
# Docker's own period where a quota comes without one, in microseconds.
_PERIOD_MICROSECONDS = 100_000
# A container with 1024 shares is to get as much as one that asks for a CPU.
_SHARES_PER_CPU = 1024
# Without requests of its own a container asks for its limits, and few nodes have that much for
# each chaincode.
_MEMORY_REQUEST = "64Mi"
_CPU_REQUEST_MILLIS = 10


@dataclass(frozen=True, slots=True)
class HostConfig:
    """The part of Docker's HostConfig that Kubernetes has an equivalent of; 0 is "not set"."""

    memory_bytes: int = 0
    nano_cpus: int = 0
    cpu_shares: int = 0
    cpu_quota: int = 0
    cpu_period: int = 0
    shm_bytes: int = 0

    @property
    def cpu_limit_millis(self) -> int:
        """The most thousandths of a CPU; NanoCpus is what Docker makes a quota of."""
        if self.nano_cpus > 0:
            return _up(self.nano_cpus, _NANO_PER_MILLI)
        if self.cpu_quota > 0:
            period = self.cpu_period if self.cpu_period > 0 else _PERIOD_MICROSECONDS
            return _up(self.cpu_quota * 1000, period)
        return 0

    @property
    def cpu_request_millis(self) -> int:
        """The thousandths of a CPU that shares stand for."""
        return _up(self.cpu_shares * 1000, _SHARES_PER_CPU) if self.cpu_shares > 0 else 0


UNLIMITED = HostConfig()


def requirements(
    host: HostConfig, *, requests: Mapping[str, str], limits: Mapping[str, str]
) -> Manifest:
    """`resources` of a container: the operator's, and the peer's where those are silent."""
    most, least = _of_peer(host)
    if "cpu" in limits:
        least.pop("cpu", None)  # it may be more than the operator allows
    found = {"requests": least | dict(requests), "limits": most | dict(limits)}
    return {kind: quantities for kind, quantities in found.items() if quantities}


def _of_peer(host: HostConfig) -> tuple[dict[str, str], dict[str, str]]:
    most, least = {}, {}
    if host.memory_bytes > 0:
        most["memory"], least["memory"] = str(host.memory_bytes), _MEMORY_REQUEST
    if limit := host.cpu_limit_millis:
        most["cpu"], least["cpu"] = f"{limit}m", f"{min(limit, _CPU_REQUEST_MILLIS)}m"
    if request := host.cpu_request_millis:
        least["cpu"] = f"{min(request, limit or request)}m"
    return most, least


def _up(value: int, unit: int) -> int:
    return -(-value // unit)
