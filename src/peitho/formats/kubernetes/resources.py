"""What a container may use: the peer's `HostConfig` and the operator's settings, as Kubernetes'."""

from collections.abc import Collection, Mapping

from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.kubernetes.quantities import number
from peitho.formats.records import HostConfig

# Without requests of its own a container asks for its limits, and few nodes have that much for
# each chaincode.
_MEMORY_REQUEST = "64Mi"
_CPU_REQUEST_MILLIS = 10


def requirements(
    host: HostConfig, *, requests: Mapping[str, str], limits: Mapping[str, str]
) -> Manifest:
    """Return `resources` of a container: the operator's, and the peer's where there are none."""
    most, least = _of_peer(host)
    if "cpu" in limits:
        least.pop("cpu", None)  # it may be more than the operator allows
    resources = {"requests": least | dict(requests), "limits": most | dict(limits)}
    decided = requests.keys() & limits.keys()  # what the operator says of both stays as it is
    _keep_below(resources["requests"], resources["limits"].keys() - decided, resources["limits"])
    return {kind: quantities for kind, quantities in resources.items() if quantities}


def _keep_below(
    requests: dict[str, str], names: Collection[str], limits: Mapping[str, str]
) -> None:
    """Request no more than the limits: Kubernetes refuses a Pod that does."""
    for name in names:
        if name in requests and number(requests[name]) > number(limits[name]):
            requests[name] = limits[name]


def _of_peer(host: HostConfig) -> tuple[dict[str, str], dict[str, str]]:
    most, least = {}, {}
    if host.memory_bytes > 0:
        most["memory"], least["memory"] = str(host.memory_bytes), _MEMORY_REQUEST
    if limit := host.cpu_limit_millis:
        most["cpu"], least["cpu"] = f"{limit}m", f"{min(limit, _CPU_REQUEST_MILLIS)}m"
    if request := host.cpu_request_millis:
        least["cpu"] = f"{min(request, limit or request)}m"
    return most, least
