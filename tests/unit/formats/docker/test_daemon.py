import pytest

from peitho.formats.docker import daemon
from peitho.formats.docker.daemon import DaemonBuildLimits
from peitho.formats.records import ContainerSpec, HostConfig

SPEC = ContainerSpec(
    image="ccenv",
    command=("sh", "-c", "go build"),
    entrypoint=(),
    env=("GOPROXY=https://proxy",),
    host=HostConfig(memory_bytes=7, nano_cpus=250_000_000),
    working_directory="/src",
)


def test_a_build_gets_what_its_peer_may_decide_and_nothing_else() -> None:
    """
    Neither mounts, devices nor namespaces: what is not written here cannot be asked for.
    """
    body = daemon.build_container(SPEC, labels={"a": "b"}, limits=DaemonBuildLimits("default"))

    assert {
        "Image": "ccenv",
        "Cmd": ["sh", "-c", "go build"],
        "Entrypoint": None,
        "Env": ["GOPROXY=https://proxy"],
        "WorkingDir": "/src",
        "Labels": {"a": "b"},
        "AttachStdout": True,
        "AttachStderr": True,
        "HostConfig": {
            "Memory": 7,
            "CpuPeriod": 100_000,
            "CpuQuota": 25_000,
            "NetworkMode": "default",
            "CapDrop": ["ALL"],
            "CapAdd": ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"],
            "SecurityOpt": ["no-new-privileges"],
            "PidsLimit": 4096,
            "LogConfig": {"Type": "none", "Config": {}},
        },
    } == body


def test_the_operators_limits_go_over_the_peers() -> None:
    """
    In the daemon's units.
    """
    limits = DaemonBuildLimits("builds", memory_limit="1Gi", cpu_limit="1500m")
    body = daemon.build_container(SPEC, labels={}, limits=limits)["HostConfig"]

    assert (1 << 30, "builds", 100_000, 150_000) == (
        body["Memory"],
        body["NetworkMode"],
        body["CpuPeriod"],
        body["CpuQuota"],
    )


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"status":"Pulling","progressDetail":{}}', ""),
        (b'{"errorDetail":{"message":"denied"},"error":"denied"}', "denied"),
        (b"<html>", "not a line of progress: b'<html>'"),
        (b"[1]", "not a line of progress: b'[1]'"),
        (b"\xff", r"not a line of progress: b'\xff'"),
    ],
)
def test_an_error_of_a_pull_is_found_in_its_progress(line: bytes, problem: str) -> None:
    """
    The status was 200 long before.
    """
    assert problem == daemon.pull_error(line)
