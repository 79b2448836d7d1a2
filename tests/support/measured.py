"""What Prometheus would get, for tests of what is counted."""

from prometheus_client import REGISTRY


def sample(name: str, **labels: str) -> float:
    """The value of one sample; 0 where nothing was counted."""
    alone = REGISTRY.restricted_registry([name])  # the others are many, and not put together
    for metric in alone.collect():
        for each in metric.samples:
            if (each.name, each.labels) == (name, labels):
                return each.value
    return 0.0
