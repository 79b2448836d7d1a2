from datetime import UTC, datetime, timedelta

from peitho.core import clock


def test_the_time_is_written_as_docker_and_kubernetes_do() -> None:
    """
    RFC 3339 in UTC, always with six digits behind the second.
    """
    now = clock.now()

    assert 27 == len(now)
    assert now.endswith("Z")
    assert abs(datetime.fromisoformat(now) - datetime.now(UTC)) < timedelta(minutes=1)
