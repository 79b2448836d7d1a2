"""What the chart says of itself; what Helm makes of it is in tests/journeys."""

import yaml

from tests.unit import chart_reference
from tests.unit.chart_reference import CHART, COPIED, MONITORING, VALUES


def test_schema_and_page_are_as_the_values_and_the_settings_are() -> None:
    """
    Else: `python -m tests.unit.chart_reference`.
    """
    assert chart_reference.schema_text() == (CHART / "values.schema.json").read_text()
    assert chart_reference.readme() == (CHART / "README.md").read_text()
    for name in COPIED:
        assert (MONITORING / name).read_bytes() == (CHART / "files" / name).read_bytes()


def test_every_value_is_described() -> None:
    """
    And none that there is not.
    """
    given = yaml.safe_load((CHART / "values.yaml").read_text())

    assert [value.name for value in VALUES] == list(chart_reference.names(given))
