import pytest
from pydantic import ValidationError

from peitho.settings.models import ImageSettings, LogSettings, Resources, ServerSettings


@pytest.mark.parametrize("address", [":0", ":65535", "127.0.0.1:80", "[::1]:80"])
def test_an_address_to_listen_at_is_taken(address: str) -> None:
    """
    With a host or without.
    """
    assert address == ServerSettings(api=address).api


@pytest.mark.parametrize("host", ["", "https://peitho", "peitho:9090", "peitho/page", "a b"])
def test_what_is_no_name_of_a_host_is_refused(host: str) -> None:
    """
    It would match no header that a browser sends.
    """
    with pytest.raises(ValidationError, match="must be the name of a host, without https://"):
        ServerSettings(operations_hosts=(host,))


@pytest.mark.parametrize(
    ("written", "expected"),
    [("WARN", "warn"), ("dpanic", "error"), ("panic", "error"), ("FATAL", "error")],
)
def test_the_go_projects_levels_are_known(written: str, expected: str) -> None:
    """
    In any case, and those that are more severe than an error are errors.
    """
    assert expected == LogSettings.model_validate({"level": written}).level


@pytest.mark.parametrize("quantity", ["", "1", "0.5", "500m", "64Mi", "2.5G", ".5", "1e9", "1Pi"])
def test_quantities_are_kubernetes_own(quantity: str) -> None:
    """
    Or nothing at all.
    """
    assert quantity == Resources(cpu_limit=quantity).cpu_limit


@pytest.mark.parametrize("quantity", ["many", "1 Gi", "1gi", "-1", "1.2.3", "."])
def test_what_is_no_quantity_is_refused(quantity: str) -> None:
    """
    With an example of one.
    """
    with pytest.raises(ValidationError, match="such as 500m or 1Gi"):
        Resources(cpu_limit=quantity)


def test_a_number_may_be_a_quantity() -> None:
    """
    YAML reads `cpuLimit: 2` as one.
    """
    assert "2" == Resources.model_validate({"cpuLimit": 2}).cpu_limit


def test_a_table_of_images_is_checked() -> None:
    """
    The line that could never work is named.
    """
    with pytest.raises(ValidationError, match=r"a/\*: M\.io//b: invalid reference format"):
        ImageSettings(rewrite={"a/b": "m.io/b", "a/*": "M.io//b"})
