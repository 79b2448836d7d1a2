"""Dashboard and alerts speak of metrics that there are; each alert says what to do."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Counter, Histogram

from tests.unit.metrics_reference import Metric, all_metrics, labels_of, name_of, values_of

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "deploy/monitoring"
RULES = yaml.safe_load((MONITORING / "alerts.yaml").read_text())
ALERTS: list[dict[str, Any]] = [rule for group in RULES["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text())

# A metric in an expression, and what is between its braces.
USED = re.compile(r"\b(peitho_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)(?:=~|!~|!=|=)"([^"]*)"')
# What Prometheus adds to what it scrapes.
TARGET_LABELS = {"namespace", "pod"}
BY = re.compile(r"\bby \(([^)]*)\)")


def expressions() -> Iterator[str]:
    """All that is asked of Prometheus."""
    yield from (alert["expr"] for alert in ALERTS)
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"]


def series() -> dict[str, Metric]:
    """Each name that Prometheus has, and its metric."""
    found: dict[str, Metric] = {}
    for metric in all_metrics():
        name = name_of(metric)
        if isinstance(metric, Histogram):
            found |= {f"{name}_{part}": metric for part in ("bucket", "count", "sum")}
        else:
            found[name] = metric
    return found


@pytest.mark.parametrize("expression", sorted(set(expressions())))
def test_what_is_asked_for_is_there(expression: str) -> None:
    """
    The metric, its labels, and the values that are named.
    """
    known, allowed = series(), TARGET_LABELS | {"le"}
    for name, inside in USED.findall(expression):
        assert name in known, name
        own = set(labels_of(known[name]))
        allowed |= own
        for label, value in MATCHER.findall(inside):
            assert label in own | TARGET_LABELS, label
            values = values_of(known[name], label) if label in own else []
            if values:
                assert set(value.split("|")) <= set(values), value
    for group in BY.findall(expression):
        assert {each.strip() for each in group.split(",")} <= allowed


def test_every_metric_is_on_the_dashboard() -> None:
    """
    Whoever is on call looks at one page.
    """
    known = series()
    asked = {known[name] for each in expressions() for name, _ in USED.findall(each)}

    assert [] == [name_of(metric) for metric in all_metrics() if metric not in asked]


def test_a_counter_is_asked_for_its_growth() -> None:
    """
    Its value says since when the process runs, and nothing else.
    """
    known = series()
    for expression in expressions():
        for found in USED.finditer(expression):
            metric = known[found[1]]
            is_counted = isinstance(metric, Counter) or found[1].endswith(("_bucket", "_count"))
            before = expression[: found.start()]
            assert not is_counted or before.endswith(("increase(", "rate(")), expression


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_each_alert_has_a_runbook(alert: dict[str, Any]) -> None:
    """
    Of its name, which says what it means, where to look and what to do, and is on the map.
    """
    page = f"docs/runbooks/{alert['alert']}.md"
    text = (ROOT / page).read_text()

    assert page == alert["annotations"]["runbook_url"]
    assert {"summary", "description", "runbook_url"} == alert["annotations"].keys()
    assert alert["labels"]["severity"] in ("critical", "warning")
    assert text.startswith(f"# {alert['alert']}\n")
    for heading in ("## What it means", "## Look", "## Do"):
        assert f"\n{heading}\n" in text
    assert f"({alert['alert']}.md)" in (ROOT / "docs/runbooks/index.md").read_text()


def test_each_alert_is_tried() -> None:
    """
    By promtool, which tests/lab/test_promtool.py has.
    """
    tried = yaml.safe_load((MONITORING / "alerts_test.yaml").read_text())["tests"]
    names = [alert["alert"] for alert in ALERTS]

    assert names == [each["name"] for each in tried]
    assert len(set(names)) == len(names) >= 10
    for each in tried:
        fires = [bool(at["exp_alerts"]) for at in each["alert_rule_test"]]
        assert [False, True] == fires


def test_the_operators_rules_are_the_same() -> None:
    """
    Prometheus' own form, and that of the Prometheus operator.
    """
    resource = yaml.safe_load((MONITORING / "prometheusrule.yaml").read_text())

    assert ("PrometheusRule", RULES) == (resource["kind"], resource["spec"])


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    """
    Each panel has a place and an ID of its own, and asks the data source that was chosen.
    """
    panels = DASHBOARD["panels"]
    assert len(panels) == len({panel["id"] for panel in panels})
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken
        assert at["x"] + at["w"] <= 24
        taken |= cells
        for target in panel.get("targets", ()):
            assert {"type": "prometheus", "uid": "${datasource}"} == target["datasource"]
