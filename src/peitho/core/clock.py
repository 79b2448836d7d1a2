"""The time of day, as Docker and Kubernetes write it."""

from datetime import UTC, datetime


def now() -> str:
    """Return the time: RFC 3339 in UTC with microseconds, `2026-01-02T03:04:05.678901Z`."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def unix_seconds(moment: str) -> float:
    """Turn an RFC 3339 time into Unix seconds. Raises ValueError."""
    return datetime.fromisoformat(moment).timestamp()
