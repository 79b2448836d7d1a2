"""Properties are tried with few examples, and with no deadline that a busy machine could break."""

import hypothesis
import pytest

from peitho.clients import pod_watch

hypothesis.settings.register_profile(
    "unit",
    max_examples=40,
    deadline=None,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("unit")


@pytest.fixture(autouse=True)
def _quick_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The double ends its watches at once: do not rest a second after each."""
    monkeypatch.setattr(pod_watch, "_PAUSE_SECONDS", 0.02)
