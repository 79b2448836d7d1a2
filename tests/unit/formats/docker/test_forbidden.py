import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peitho.api import models
from peitho.errors import Forbidden
from peitho.formats.docker import forbidden
from peitho.formats.docker.forbidden import CONFIG, HOST_CONFIG

# The bodies of `create` of real peers 1.4.12, 2.2.15 and 2.5.16, each kind once.
CREATES = Path(__file__).parents[3] / "conformance/creates.json"
# What each field says when somebody asks for something.
ASKED: dict[str, object] = {
    "User": "root",
    "Volumes": {"/data": {}},
    "HostConfig.Binds": ["/:/host"],
    "HostConfig.CapAdd": ["CHOWN"],
    "HostConfig.Capabilities": ["ALL"],
    "HostConfig.Cgroup": "container:a",
    "HostConfig.CgroupParent": "/system.slice",
    "HostConfig.CgroupnsMode": "host",
    "HostConfig.DeviceCgroupRules": ["a *:* rwm"],
    "HostConfig.DeviceRequests": [{"Count": -1}],
    "HostConfig.Devices": [{"PathOnHost": "/dev/kmsg"}],
    "HostConfig.GroupAdd": ["docker"],
    "HostConfig.IpcMode": "host",
    "HostConfig.Links": ["db"],
    "HostConfig.LxcConf": {"a": "b"},
    "HostConfig.MaskedPaths": ["/x"],
    "HostConfig.Mounts": [{"Type": "bind", "Source": "/", "Target": "/host"}],
    "HostConfig.NetworkMode": "container:a",
    "HostConfig.OomKillDisable": True,
    "HostConfig.OomScoreAdj": -1000,
    "HostConfig.PidMode": "host",
    "HostConfig.PortBindings": {"80/tcp": [{"HostPort": "80"}]},
    "HostConfig.Privileged": True,
    "HostConfig.PublishAllPorts": True,
    "HostConfig.ReadonlyPaths": ["/x"],
    "HostConfig.Runtime": "kata",
    "HostConfig.SecurityOpt": ["no-new-privileges", "seccomp=unconfined"],
    "HostConfig.Sysctls": {"net.ipv4.ip_forward": "1"},
    "HostConfig.Tmpfs": {"/run": ""},
    "HostConfig.UTSMode": "host",
    "HostConfig.UsernsMode": "host",
    "HostConfig.VolumeDriver": "local",
    "HostConfig.VolumesFrom": ["other"],
}
# "Not set", as Go's and Python's clients write it.
EMPTY: tuple[object, ...] = (None, 0, False, "", [], {}, [""])
# What is so in any case, and what peers say: core.yaml documents it, or fabric-samples sets it.
PASSING = {
    "HostConfig.CgroupnsMode": ("private",),
    "HostConfig.IpcMode": ("private", "shareable", "none"),
    "HostConfig.NetworkMode": ("host", "bridge", "default", "none", "ipvlan", "fabric_test"),
    "HostConfig.Runtime": ("runc",),
    "HostConfig.SecurityOpt": (["no-new-privileges"], ["no-new-privileges:true"]),
}


def check(field: str, value: object) -> None:
    """Check a request that sets one field."""
    place, _, name = field.rpartition(".")
    config, host_config = ({}, {name: value}) if place else ({name: value}, {})
    forbidden.check(config, host_config)


def test_each_field_that_is_refused_has_its_case() -> None:
    """
    A new one gets a line above.
    """
    assert {*CONFIG, *(f"HostConfig.{name}" for name in HOST_CONFIG)} == set(ASKED)


@pytest.mark.parametrize("field", ASKED)
def test_what_reaches_past_a_container_is_refused_by_name(field: str) -> None:
    """
    Whatever else the request says, and however the name is spelled, as dockerd reads it.
    """
    for spelled in (field, f"{field[:-1]}{field[-1].upper()}"):
        with pytest.raises(Forbidden, match=f"^{re.escape(field)}: may not be asked for here: "):
            check(spelled, ASKED[field])


@pytest.mark.parametrize("field", ASKED)
def test_what_is_not_set_is_not_asked_for(field: str) -> None:
    """
    Clients send every field; and a value that says what is so in any case is no more than that.
    """
    for value in (*EMPTY, *PASSING.get(field, ())):
        check(field, value)


def test_all_are_named_that_are_refused() -> None:
    """
    In one answer, also those of a HostConfig that is spelled otherwise.
    """
    body = {
        "Image": "a",
        "user": "0",
        "hostConfig": {"binds": ["/:/h"]},
        "HostConfig": {"Privileged": True},
    }
    with pytest.raises(Forbidden, match=r"^User, HostConfig\.Privileged, HostConfig\.Binds: may"):
        models.read_create(json.dumps(body).encode()).spec()


@pytest.mark.parametrize("mode", ["host", "bridge", "ipvlan", "none"])
def test_what_real_peers_ask_for_passes(mode: str) -> None:
    """
    With each network that core.yaml documents, and its Dns.
    """
    for each in json.loads(CREATES.read_text()):
        host = (each["body"].get("HostConfig") or {}) | {"NetworkMode": mode, "Dns": ["10.0.0.1"]}

        models.read_create(json.dumps(each["body"] | {"HostConfig": host}).encode()).spec()


@given(
    st.dictionaries(
        st.sampled_from([*CONFIG, *HOST_CONFIG]) | st.text(),
        st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=9),
        max_size=40,
    )
)
def test_whatever_is_sent_is_refused_or_passes(fields: dict[str, object]) -> None:
    """
    Names and values come from outside; the answer is short.
    """
    said = ""
    try:
        forbidden.check(fields, fields)
    except Forbidden as error:
        said = str(error)

    assert len(said) < 1000
