import dataclasses

from peitho.formats.records import HostConfig
from tests.support import typed
from tests.support.manifests import record


def test_two_launches_have_two_job_names() -> None:
    """
    A launch never meets the end of the one before.
    """
    first = typed.metadata(record())
    second = dataclasses.replace(first, id="f" * 64)

    assert first.job_name != second.job_name
    assert len(first.job_name) <= 57


def test_a_quota_without_a_period_is_of_dockers_own() -> None:
    """
    100 ms; parts of a thousandth are rounded up, so that no limit becomes none.
    """
    assert 500 == HostConfig(cpu_quota=50_000).cpu_limit_millis
    assert 1 == HostConfig(nano_cpus=1).cpu_limit_millis
    assert 0 == HostConfig(cpu_quota=-1, cpu_shares=-1).cpu_limit_millis
