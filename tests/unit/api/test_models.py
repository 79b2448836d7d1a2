import json
import tracemalloc
from typing import Any

import pytest

from peitho.api import models
from peitho.core.container import Details, PathStat, State, Summary
from peitho.core.images.base import BaseImage
from peitho.errors import InvalidArgument, Unsupported
from peitho.formats.images.image_record import Image
from peitho.formats.records import ContainerSpec, HostConfig

# As recorded from peers 1.4.12, 2.2.15 and 2.5.16; some of the last one's many nulls are left out.
FABRIC_1_4: dict[str, Any] = {
    "Env": ["CORE_CHAINCODE_ID_NAME=ab:2", "CORE_PEER_TLS_ENABLED=true"],
    "Cmd": ["chaincode", "-peer.address=172.17.0.1:14552"],
    "Image": "trace-1.4.12-peer0.org1.lab-ab-2-b2d966b7",
    "Entrypoint": None,
    "AttachStdout": True,
    "AttachStderr": True,
    "HostConfig": {
        "NetworkMode": "bridge",
        "RestartPolicy": {},
        "LogConfig": {"Type": "json-file", "Config": {"max-file": "5", "max-size": "50m"}},
        "Memory": 2147483648,
    },
}
FABRIC_2_2 = FABRIC_1_4 | {
    "HostConfig": {
        "NetworkMode": "bridge",
        "ConsoleSize": [0, 0],
        "RestartPolicy": {},
        "Memory": 2147483648,
        "MemorySwappiness": 0,
        "OomKillDisable": False,
    },
}
FABRIC_2_5 = FABRIC_1_4 | {
    "Hostname": "",
    "Domainname": "",
    "User": "",
    "AttachStdin": False,
    "Tty": False,
    "OpenStdin": False,
    "StdinOnce": False,
    "Volumes": None,
    "WorkingDir": "",
    "Labels": None,
    "HostConfig": {
        "Binds": None,
        "RestartPolicy": {"Name": "", "MaximumRetryCount": 0},
        "Dns": [],
        "PidsLimit": None,
        "Memory": 2147483648,
        "NanoCpus": 0,
    },
}
PROBE = {
    "Hostname": "",
    "AttachStdout": True,
    "Tty": False,
    "Env": None,
    "Cmd": ["go", "version"],
    "Image": "hyperledger/fabric-ccenv:2.5",
    "Volumes": None,
    "WorkingDir": "",
    "Entrypoint": None,
    "Labels": None,
}
SUMMARY = Summary(
    id="ab" * 32,
    name="dev-mycc",
    image="net-mycc",
    command="chaincode -peer.address=x",
    created="2026-01-02T03:04:05.678901Z",
    state=State("exited", 137, "OOMKilled", "2026-01-02T03:04:06Z", "2026-01-02T03:05:00Z"),
    kubernetes_name="cc-dev-mycc-0123456789",
    labels={"l": "v"},
)
IMAGE = Image("n", "r", "sha256:l", 5, "/d", ("e",), {"l": "v"}, {"K": "v"}, "arm64", "now")


def spec_of(body: object) -> ContainerSpec:
    """What a body of create means."""
    return models.read_create(json.dumps(body).encode()).spec()


@pytest.mark.parametrize("body", [FABRIC_1_4, FABRIC_2_2, FABRIC_2_5], ids=["1.4", "2.2", "2.5"])
def test_three_generations_of_peers_ask_for_the_same(body: dict[str, Any]) -> None:
    """
    Chaincode's create, as each client writes it.
    """
    assert ContainerSpec(
        image="trace-1.4.12-peer0.org1.lab-ab-2-b2d966b7",
        command=("chaincode", "-peer.address=172.17.0.1:14552"),
        entrypoint=(),
        env=("CORE_CHAINCODE_ID_NAME=ab:2", "CORE_PEER_TLS_ENABLED=true"),
        host=HostConfig(memory_bytes=2**31),
    ) == spec_of(body)


def test_the_probe_has_no_variables_and_no_host_config() -> None:
    """
    From 2.5.16 on it comes before each Go build.
    """
    assert ContainerSpec(
        image="hyperledger/fabric-ccenv:2.5", command=("go", "version"), entrypoint=(), env=()
    ) == spec_of(PROBE)


@pytest.mark.parametrize(
    ("more", "field", "expected"),
    [
        ({"Cmd": None}, "command", ()),
        ({"Cmd": "ls"}, "command", ("ls",)),
        ({"Entrypoint": ["/bin/sh", "-c"]}, "entrypoint", ("/bin/sh", "-c")),
        ({"Entrypoint": []}, "entrypoint", ()),
        ({"Env": []}, "env", ()),
        ({"WorkingDir": "/w"}, "working_directory", "/w"),
        ({"HostConfig": None}, "host", HostConfig()),
        ({"HostConfig": {}}, "host", HostConfig()),
        ({"Unheard": {"of": 1}}, "image", "i"),
    ],
)
def test_what_clients_leave_out_null_or_add_is_read(
    more: dict[str, Any], field: str, expected: object
) -> None:
    """
    Also from the docker CLI.
    """
    assert expected == getattr(spec_of({"Image": "i"} | more), field)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "invalid JSON: Image: Field required"),
        (b"{}", "invalid JSON: Image: Field required"),
        (b"{", "invalid JSON: Invalid JSON: EOF"),
        (b"[]", "invalid JSON: Input should be an object"),
        (b"\xff", "invalid JSON: "),
        (b'{"Image": ""}', "invalid JSON: Image: "),
        (b'{"Image": "i", "Cmd": [1]}', "invalid JSON: Cmd.0: "),
        (b'{"Image": "i", "Env": "A=1"}', "invalid JSON: Env: "),
        (b'{"Image": "i", "HostConfig": {"Memory": -1}}', "HostConfig.Memory: "),
    ],
)
def test_a_body_that_cannot_be_read_is_told_with_its_place(body: bytes, message: str) -> None:
    """
    The peer's log shows which field it was.
    """
    with pytest.raises(InvalidArgument, match=message):
        models.read_create(body)


def test_the_state_of_a_container_is_dockers() -> None:
    """
    Out of memory is a field of its own; times that are not are Go's zero.
    """
    exited, created = models.state(SUMMARY.state), models.state(State("created"))

    assert ("exited", False, True, 137) == (
        exited["Status"],
        exited["Running"],
        exited["OOMKilled"],
        exited["ExitCode"],
    )
    assert ("created", "0001-01-01T00:00:00Z", False) == (
        created["Status"],
        created["StartedAt"],
        created["OOMKilled"],
    )
    assert models.state(State("running"))["Running"]


@pytest.mark.parametrize("tty", [True, False])
def test_inspect_tells_how_streams_are_read(*, tty: bool) -> None:
    """
    `Tty` is "raw, without frames"; the rest is what was asked for, and where it is.
    """
    env = ("CORE_PEER_TLS_ENABLED=true", "A=1")
    spec = ContainerSpec("net-mycc", ("c", "d"), ("/e",), env, HostConfig(5), "/w")

    found = models.inspect(Details(SUMMARY, spec), image_id="sha256:i", tty=tty)

    assert tty == found["Config"]["Tty"]
    assert ("/e", ["c", "d"], "/dev-mycc") == (found["Path"], found["Args"], found["Name"])
    assert (["c", "d"], ["/e"], ["CORE_PEER_TLS_ENABLED=true", "A=********"], "/w") == (
        found["Config"]["Cmd"],
        found["Config"]["Entrypoint"],
        found["Config"]["Env"],
        found["Config"]["WorkingDir"],
    )
    assert 5 == found["HostConfig"]["Memory"]
    assert {"l": "v", "peitho/kubernetes-name": "cc-dev-mycc-0123456789"} == found["Config"][
        "Labels"
    ]


def test_a_container_without_a_command_can_be_inspected() -> None:
    """
    Its image may have one.
    """
    found = models.inspect(Details(SUMMARY, ContainerSpec("i", (), (), ())), image_id="", tty=False)

    assert ("", [], None) == (found["Path"], found["Args"], found["Config"]["Entrypoint"])


def test_a_line_of_docker_ps() -> None:
    """
    With the name of what is in the cluster.
    """
    found = models.list_entry(SUMMARY, created=7, status="Up 1 seconds")

    assert (["/dev-mycc"], 7, "exited", "Up 1 seconds") == (
        found["Names"],
        found["Created"],
        found["State"],
        found["Status"],
    )
    assert "cc-dev-mycc-0123456789" == found["Labels"]["peitho/kubernetes-name"]


def test_images_are_told_as_docker_does() -> None:
    """
    Inspect, list, and one that nodes will pull.
    """
    found = models.image(IMAGE)
    listed = models.image_list_entry(IMAGE, created=7)
    pulled = models.base_image(BaseImage("a:1"), architecture="amd64")

    assert (IMAGE.id, ["n:latest"], "arm64", 5) == (
        found["Id"],
        found["RepoTags"],
        found["Architecture"],
        found["Size"],
    )
    assert (["K=v"], {"l": "v"}) == (found["Config"]["Env"], found["Config"]["Labels"])
    assert (IMAGE.id, ["n:latest"], 7, {"l": "v"}) == (
        listed["Id"],
        listed["RepoTags"],
        listed["Created"],
        listed["Labels"],
    )
    assert (["a:1"], "amd64") == (pulled["RepoTags"], pulled["Architecture"])


def test_the_stat_of_a_path_has_dockers_keys() -> None:
    """
    The newest clients demand all of them.
    """
    assert {"name": ".", "size": 4096, "mode": 5, "mtime": "now", "linkTarget": ""} == (
        models.path_stat(PathStat(".", 4096, 5, "now"))
    )


@pytest.mark.parametrize("more", [{"WorkingDir": None}, {"HostConfig": {"Memory": None}}], ids=str)
def test_nulls_are_what_is_left_out(more: dict[str, object]) -> None:
    """
    The newest client sends every field.
    """
    assert "i" == models.read_create(json.dumps({"Image": "i"} | more).encode()).image


def test_what_kubernetes_has_of_the_hostconfig_is_read_and_told() -> None:
    """
    Under Docker's names, there and back.
    """
    sent = {
        "Memory": 5,
        "NanoCpus": 1,
        "CpuShares": 2,
        "CpuQuota": -1,
        "CpuPeriod": 4,
        "ShmSize": 6,
    }

    spec = models.read_create(json.dumps({"Image": "i", "HostConfig": sent}).encode()).spec()

    told = models.inspect(Details(SUMMARY, spec), image_id="i", tty=False)["HostConfig"]
    assert sent == {key: told[key] for key in sent}


@pytest.mark.parametrize(
    "field", ["Memory", "NanoCpus", "CpuShares", "CpuQuota", "CpuPeriod", "ShmSize"]
)
def test_a_number_that_no_quantity_can_be_is_refused_by_name(field: str) -> None:
    """
    At create, and not minutes later by whoever has to carry it out.
    """
    most = 2**63 - 1
    models.read_create(json.dumps({"Image": "i", "HostConfig": {field: most}}).encode())

    with pytest.raises(InvalidArgument, match=rf"HostConfig\.{field}: "):
        models.read_create(json.dumps({"Image": "i", "HostConfig": {field: most + 1}}).encode())


@pytest.mark.parametrize("field", ["Cmd", "Entrypoint", "Env"])
def test_of_many_wrong_words_the_first_is_told_at_once(field: str) -> None:
    """
    To note each of 500,000 would take the memory of the whole Deployment.
    """
    body = f'{{"Image": "i", "{field}": [{"1," * 500_000}1]}}'.encode()
    tracemalloc.start()
    try:
        with pytest.raises(InvalidArgument, match=f"{field}.0: "):
            models.read_create(body)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["Tty", "OpenStdin"])
def test_a_terminal_and_stdin_are_refused(name: str) -> None:
    """
    What a peer sends of them is false.
    """
    with pytest.raises(Unsupported, match=f"{name} is not part of what Peitho does"):
        spec_of({"Image": "i", name: True})
    assert "i" == spec_of({"Image": "i", name: False}).image


def test_a_container_may_be_removed_by_itself() -> None:
    """
    `docker run --rm`.
    """
    assert spec_of({"Image": "i", "HostConfig": {"AutoRemove": True}}).auto_remove
    assert not spec_of({"Image": "i", "HostConfig": {}}).auto_remove
