import pytest

from peitho.program.checks import versions as checked
from tests.support.check_findings import brief


def test_the_version_of_the_docker_api_is_one_that_peers_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    The newer ones refuse an older one.
    """
    assert [("API versions", "ok")] == brief(checked.versions())

    monkeypatch.setattr(checked, "API_VERSION", "1.43")
    assert [("API versions", "wrong")] == brief(checked.versions())
