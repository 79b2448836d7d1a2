import time
from datetime import UTC, datetime, timedelta

import pytest

from peitho.core import clock


def test_the_time_is_written_as_docker_and_kubernetes_do() -> None:
    """
    RFC 3339 in UTC, always with six digits behind the second.
    """
    now = clock.now()

    assert 27 == len(now)
    assert now.endswith("Z")
    assert abs(datetime.fromisoformat(now) - datetime.now(UTC)) < timedelta(minutes=1)
    assert abs(clock.unix_seconds(now) - time.time()) < 60


@pytest.mark.parametrize("moment", ["1970-01-01T00:01:00Z", "1970-01-01T01:01:00+01:00"])
def test_a_moment_is_read_in_any_zone(moment: str) -> None:
    """
    As the cluster writes it, without a fraction of the second.
    """
    assert 60.0 == clock.unix_seconds(moment)
