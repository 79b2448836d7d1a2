import pytest
from hypothesis import given
from hypothesis import strategies as st

from peitho.formats.kubernetes.resources import requirements
from peitho.formats.records import HostConfig


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (HostConfig(), {}),
        (HostConfig(nano_cpus=-1, cpu_quota=-1, cpu_shares=-1, memory_bytes=0), {}),
        (
            HostConfig(memory_bytes=2**31),
            {"limits": {"memory": "2147483648"}, "requests": {"memory": "64Mi"}},
        ),
        (
            HostConfig(memory_bytes=32 * 2**20),
            {"limits": {"memory": "33554432"}, "requests": {"memory": "33554432"}},
        ),
        (
            HostConfig(nano_cpus=1_500_000_000),
            {"limits": {"cpu": "1500m"}, "requests": {"cpu": "10m"}},
        ),
        (
            HostConfig(cpu_quota=50_000, cpu_period=25_000),
            {"limits": {"cpu": "2000m"}, "requests": {"cpu": "10m"}},
        ),
        (HostConfig(cpu_quota=50_000), {"limits": {"cpu": "500m"}, "requests": {"cpu": "10m"}}),
        (HostConfig(cpu_shares=1024), {"requests": {"cpu": "1000m"}}),
        (HostConfig(cpu_shares=2), {"requests": {"cpu": "2m"}}),
        (
            HostConfig(cpu_shares=1024, cpu_quota=50_000),
            {"limits": {"cpu": "500m"}, "requests": {"cpu": "500m"}},
        ),
        (
            HostConfig(nano_cpus=1_000_000_000, cpu_quota=50_000),
            {"limits": {"cpu": "1000m"}, "requests": {"cpu": "10m"}},
        ),
        (HostConfig(nano_cpus=1), {"limits": {"cpu": "1m"}, "requests": {"cpu": "1m"}}),
    ],
)
def test_what_the_peer_allows_becomes_resources(
    host: HostConfig, expected: dict[str, dict[str, str]]
) -> None:
    """
    Quota and NanoCpus are limits, shares are a request, and no request is above its limit.
    """
    assert expected == requirements(host, requests={}, limits={})


def test_no_request_is_above_a_limit() -> None:
    """
    Whoever of the two set which; only the operator's own two are left as they are.
    """
    peers = HostConfig(memory_bytes=32 * 2**20)

    assert {"memory": "33554432"} == requirements(peers, requests={"memory": "1Gi"}, limits={})[
        "requests"
    ]
    assert {"memory": "32Mi"} == requirements(peers, requests={}, limits={"memory": "32Mi"})[
        "requests"
    ]
    both = requirements(peers, requests={"memory": "1Gi"}, limits={"memory": "2Gi"})
    assert {"requests": {"memory": "1Gi"}, "limits": {"memory": "2Gi"}} == both


def test_the_operators_word_is_over_the_peers() -> None:
    """
    Key by key; a request of the peer's does not stay beside a limit of the operator's.
    """
    host = HostConfig(memory_bytes=2**31, cpu_shares=2048, nano_cpus=2_000_000_000)

    assert {
        "limits": {"memory": "512Mi", "cpu": "1"},
        "requests": {"memory": "64Mi"},
    } == requirements(host, requests={}, limits={"memory": "512Mi", "cpu": "1"})
    assert {"memory": "1Mi", "cpu": "5m"} == requirements(
        host, requests={"memory": "1Mi", "cpu": "5m"}, limits={}
    )["requests"]


numbers = st.integers(min_value=-(2**40), max_value=2**40)


@given(st.builds(HostConfig, nano_cpus=numbers, cpu_shares=numbers, cpu_quota=numbers))
def test_a_request_is_never_above_its_limit(host: HostConfig) -> None:
    """
    Kubernetes would refuse such a Pod.
    """
    found = requirements(host, requests={}, limits={})

    if "limits" in found:
        limit, request = (int(found[each]["cpu"][:-1]) for each in ("limits", "requests"))
        assert 1 <= request <= limit
