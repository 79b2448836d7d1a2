"""Properties are tried with few examples, and with no deadline that a busy machine could break."""

from collections.abc import Iterator

import hypothesis
import pytest

from peitho.clients.kubernetes import pod_watch

hypothesis.settings.register_profile(
    "unit",
    max_examples=40,
    deadline=None,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("unit")


@pytest.fixture(scope="session", autouse=True)
def _quick_watch() -> Iterator[None]:
    """The double ends its watches at once: do not rest a second after each."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(pod_watch, "_PAUSE_SECONDS", 0.02)
        yield
