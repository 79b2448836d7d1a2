"""
What a create request may not ask for: whatever reaches past its own container.

Peitho would not pass it on in any case. It is refused all the same, and not ignored as other fields
are: who asks for it relies on it, or should not be here. What peers say by default, and what their
core.yaml documents under `vm.docker.hostConfig` (NetworkMode, Dns, LogConfig, Memory), passes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from peitho.errors import Forbidden

_MOST = 20
_TOLD = 3


@dataclass(frozen=True, slots=True)
class Field:
    """
    A field of a create request, and what it would give.

    `passing` are values, or words of a list, that say what is so in any case. With `beginnings`
    only what begins so is refused.
    """

    gives: str
    passing: tuple[str, ...] = ()
    beginnings: tuple[str, ...] = ()

    def refuses(self, value: object) -> bool:
        """Whether the value asks for something; null, 0, false and what is empty do not."""
        said = value if isinstance(value, list) else [value]
        return any(self._refuses_word(each) for each in said)

    def _refuses_word(self, value: object) -> bool:
        if not isinstance(value, str):
            return bool(value) and not self.beginnings
        word = value.strip().lower()
        if self.beginnings:
            return word.startswith(self.beginnings)
        return bool(word) and word not in self.passing


_CAPABILITY = "capabilities of the kernel"
_DEVICE = "a device of the node"
_DIRECTORY = "directories of the node, or volumes"
_NAMESPACE = "a namespace of the node or of another container"
_PORT = "a port of the node"
_PRIVILEGE = "privileges on the node"
_SECURITY = "other rules of the kernel than all containers have"
_USER = "another user than the operator's"

CONFIG: Mapping[str, Field] = {
    "User": Field(_USER),
    "Volumes": Field(_DIRECTORY),
}
HOST_CONFIG: Mapping[str, Field] = {
    "Binds": Field(_DIRECTORY),
    "CapAdd": Field(_CAPABILITY),
    "Capabilities": Field(_CAPABILITY),  # of API 1.40 alone
    "Cgroup": Field(_NAMESPACE),
    "CgroupParent": Field(_NAMESPACE),
    "CgroupnsMode": Field(_NAMESPACE, passing=("private",)),
    "DeviceCgroupRules": Field(_DEVICE),
    "DeviceRequests": Field(_DEVICE),
    "Devices": Field(_DEVICE),
    "GroupAdd": Field(_USER),
    "IpcMode": Field(_NAMESPACE, passing=("none", "private", "shareable")),
    "Links": Field("the network of another container"),
    "LxcConf": Field(_SECURITY),  # of old clients
    "MaskedPaths": Field(_SECURITY),
    "Mounts": Field(_DIRECTORY),
    # A network's name is nothing here; peers ask for `host` by default.
    "NetworkMode": Field("the network of another container", beginnings=("container:", "ns:")),
    "OomKillDisable": Field("memory before others of the node"),
    "OomScoreAdj": Field("memory before others of the node"),
    "PidMode": Field(_NAMESPACE),
    "PortBindings": Field(_PORT),
    "Privileged": Field(_PRIVILEGE),
    "PublishAllPorts": Field(_PORT),
    "ReadonlyPaths": Field(_SECURITY),
    "Runtime": Field("another runtime than the operator's", passing=("runc",)),
    "SecurityOpt": Field(
        _SECURITY,
        passing=("no-new-privileges", "no-new-privileges:true", "no-new-privileges=true"),
    ),
    "Sysctls": Field(_SECURITY),
    "Tmpfs": Field("another file system"),
    "UTSMode": Field(_NAMESPACE),
    "UsernsMode": Field(_NAMESPACE),
    "VolumeDriver": Field(_DIRECTORY),
    "VolumesFrom": Field(_DIRECTORY),
}


def check(config: Mapping[str, object], host_config: Mapping[str, object]) -> None:
    """
    Raise Forbidden, with all their names, if fields of a request ask for what nobody is given.

    Names are compared without regard to case, as dockerd reads them.
    """
    found = [*_asked(config, CONFIG, ""), *_asked(host_config, HOST_CONFIG, "HostConfig.")]
    for name, value in config.items():
        if name.lower() == "hostconfig" and isinstance(value, Mapping):
            found += _asked(value, HOST_CONFIG, "HostConfig.")
    if not found:
        return
    named = ", ".join(name for name, _ in islice(found, _MOST))
    gives = " and ".join(dict.fromkeys(field.gives for _, field in islice(found, _TOLD)))
    raise Forbidden(
        f"{named}: may not be asked for here: builds and chaincode run without {gives}",
        reason="field",
    )


def _asked(
    said: Mapping[str, object], known: Mapping[str, Field], prefix: str
) -> Iterator[tuple[str, Field]]:
    names = {name.lower(): name for name in known}
    for name, value in said.items():
        spelled = names.get(name.lower())
        if spelled and known[spelled].refuses(value):
            yield f"{prefix}{spelled}", known[spelled]
