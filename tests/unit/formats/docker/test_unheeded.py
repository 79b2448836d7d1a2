import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peitho.api import models
from peitho.formats.docker import unheeded

IGNORED = " is not part of what Peitho does: it is ignored"
# The bodies of `create` of real peers 1.4.12, 2.2.15 and 2.5.16, each kind once.
CREATES = Path(__file__).parents[3] / "conformance/creates.json"


@pytest.mark.parametrize(
    ("config", "host_config", "fields"),
    [
        ({}, {"ReadonlyRootfs": True}, ["HostConfig.ReadonlyRootfs"]),
        ({}, {"NetworkMode": "host"}, ["HostConfig.NetworkMode"]),
        ({}, {"NetworkMode": "bridge"}, []),
        ({}, {"NetworkMode": "default"}, []),
        ({}, {"Dns": ["10.0.0.1"], "DnsSearch": []}, ["HostConfig.Dns"]),
        ({"Hostname": "a", "Domainname": ""}, {}, ["Hostname"]),
        ({"Shell": ["sh"]}, {"ExtraHosts": ["a:1"]}, ["Shell", "HostConfig.ExtraHosts"]),
        ({"ExposedPorts": {"80/tcp": {}}, "MacAddress": "a"}, {}, ["MacAddress"]),
        ({"NetworkingConfig": {"EndpointsConfig": {"default": {"Aliases": None}}}}, {}, []),
        ({"StopSignal": "SIGTERM"}, {"ConsoleSize": [50, 80]}, []),
        ({"StopSignal": "SIGINT"}, {"RestartPolicy": {"Name": "no"}}, ["StopSignal"]),
        ({}, {"RestartPolicy": {"Name": "always"}}, ["HostConfig.RestartPolicy"]),
        ({}, {"LogConfig": {"Type": "json-file", "Config": {"max-size": "50m"}}}, []),
        ({}, {"LogConfig": {"Type": "syslog"}}, ["HostConfig.LogConfig"]),
        ({}, {"LogConfig": 5, "MemorySwappiness": -1}, ["HostConfig.LogConfig"]),
    ],
)
def test_what_is_set_and_does_not_count_is_told(
    config: dict[str, object], host_config: dict[str, object], fields: list[str]
) -> None:
    """
    A line for each field, by its name; what says nothing, or what clients always say, is not told.
    """
    assert [f"{each}{IGNORED}" for each in fields] == unheeded.warnings(config, host_config)


def test_real_peers_are_told_nothing() -> None:
    """
    Whatever their clients send by themselves means nothing here, or is so anyway.
    """
    creates = json.loads(CREATES.read_text())
    told = [models.read_create(json.dumps(each["body"]).encode()).warnings() for each in creates]

    assert {"1.4.12", "2.2.15", "2.5.16"} == {each["version"] for each in creates}
    assert [[]] * len(creates) == told


@given(
    st.dictionaries(
        st.text(),
        st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=9),
        max_size=80,
    )
)
def test_whatever_is_sent_is_told_of_in_bounds(fields: dict[str, object]) -> None:
    """
    Names come from outside.
    """
    told = unheeded.warnings(fields, fields)

    assert len(told) <= 50
    assert all(len(line) <= 100 + len("HostConfig.") + len(IGNORED) for line in told)
