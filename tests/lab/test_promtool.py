"""The alerts, as Prometheus itself reads them."""

from pathlib import Path

import pytest

from tests.lab import promtool
from tests.lab.machine import run

MONITORING = Path(__file__).parents[2] / "deploy/monitoring"


@pytest.mark.timeout(1800)
def test_alerts_fire_when_they_should_and_not_before() -> None:
    """
    What `alerts_test.yaml` says: for each, series at which it is quiet, and then fires.
    """
    binary = promtool.build()

    assert "SUCCESS" in run([binary, "check", "rules", "alerts.yaml"], cwd=MONITORING)
    assert "SUCCESS" in run([binary, "test", "rules", "alerts_test.yaml"], cwd=MONITORING)
