"""Tenants in settings."""

from peitho.settings import tenants
from peitho.settings.models import Settings


def test_without_any_there_is_one_that_goes_by_all_settings() -> None:
    """
    It is called `default`.
    """
    settings = Settings()

    assert [("default", settings)] == list(tenants.each(settings))
