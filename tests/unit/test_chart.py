"""What the chart says of itself; what Helm makes of it is in tests/journeys."""

import yaml

from tests.unit import chart_reference
from tests.unit.chart_reference import CHART, COPIED, VALUES


def test_schema_and_page_are_as_the_values_and_the_settings_are() -> None:
    """
    Else: `python -m tests.unit.chart_reference`.
    """
    assert chart_reference.schema_text() == (CHART / "values.schema.json").read_text()
    assert chart_reference.readme() == (CHART / "README.md").read_text()
    for name, source in COPIED.items():
        assert source.read_bytes() == (CHART / "files" / name).read_bytes()


def test_every_template_takes_the_defaults_of_what_a_release_lacks() -> None:
    """
    Whichever Helm renders first.
    """
    templates = [
        path for path in (CHART / "templates").rglob("*") if path.suffix in (".yaml", ".txt")
    ]
    first = {path.name: path.read_text().partition("\n")[0] for path in templates}

    assert dict.fromkeys(first, '{{- include "peitho.defaults" . -}}') == first


def test_every_value_is_described() -> None:
    """
    And none that there is not.
    """
    given = yaml.safe_load((CHART / "values.yaml").read_text())

    assert [value.name for value in VALUES] == list(chart_reference.names(given))
