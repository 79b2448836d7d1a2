"""What a create request asks for and does not get: a line for each field, for its `Warnings`."""

from collections.abc import Iterator, Mapping
from itertools import islice

# What clients send by themselves, or what is so in Kubernetes anyway; None: whatever it says.
# A terminal's size means nothing without one, streams can be attached to in any case, and a Pod's
# ports are open anyway.
_CONFIG: Mapping[str, tuple[object, ...] | None] = {
    "ArgsEscaped": None,
    "AttachStderr": None,
    "AttachStdin": None,
    "AttachStdout": None,
    "ExposedPorts": None,
    "StdinOnce": None,
    "StopSignal": ("SIGTERM",),
}
_HOST_CONFIG: Mapping[str, tuple[object, ...] | None] = {
    "CgroupnsMode": ("private",),
    "ConsoleSize": None,
    "ContainerIDFile": None,  # written by the CLI
    "IpcMode": ("private",),
    "Isolation": ("default",),
    "MemorySwappiness": (-1,),
    # Of peers: `bridge` is what a Pod has, and `host` what their own settings say by default.
    "NetworkMode": ("bridge", "default"),
    "PidsLimit": (-1,),
}
_MOST = 50
_NAME_CHARACTERS = 100


def warnings(config: Mapping[str, object], host_config: Mapping[str, object]) -> list[str]:
    """
    Return the warnings for the fields of a create request that are not read, if they are set.

    A field is not set if it says nothing: null, 0, false or empty.
    """
    fields = [
        *_unheeded(config, _CONFIG, ""),
        *_unheeded(host_config, _HOST_CONFIG, "HostConfig."),
    ]
    return [
        f"{field} is not part of what Peitho does: it is ignored" for field in islice(fields, _MOST)
    ]


def _unheeded(
    fields: Mapping[str, object], usual: Mapping[str, tuple[object, ...] | None], prefix: str
) -> Iterator[str]:
    for name, value in fields.items():
        said = usual.get(name, ())
        if said is None or value in said or not _says_something(name, value):
            continue
        yield f"{prefix}{name[:_NAME_CHARACTERS]}"


def _says_something(name: str, value: object) -> bool:
    if not isinstance(value, Mapping):
        return bool(value)
    if name == "LogConfig":  # `docker logs` reads what the node keeps, and the node limits its size
        return value.get("Type") not in (None, "", "json-file")
    if name == "RestartPolicy":
        return value.get("Name") not in (None, "", "no")
    if name == "NetworkingConfig":  # the CLI names the default network, and says nothing of it
        return _holds_something(value)
    return bool(value)


def _holds_something(value: object) -> bool:
    ahead = [value]
    while ahead:
        value = ahead.pop()
        if isinstance(value, Mapping):
            ahead += value.values()
        elif value:
            return True
    return False
