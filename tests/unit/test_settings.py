import pytest
from pydantic import BaseModel, ValidationError

from peitho.settings import (
    DockerSettings,
    ImageSettings,
    LogSettings,
    Resources,
    ServerSettings,
    Settings,
)


@pytest.mark.parametrize("address", [":0", ":65535", "127.0.0.1:80", "[::1]:80"])
def test_an_address_to_listen_at_is_taken(address: str) -> None:
    """
    With a host or without.
    """
    assert address == ServerSettings(api=address).api


def test_settings_cannot_be_changed() -> None:
    """
    What was read is what is in effect.
    """
    with pytest.raises(ValidationError, match="frozen"):
        Settings().kubernetes.namespace = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("written", "expected"),
    [("WARN", "warn"), ("dpanic", "error"), ("panic", "error"), ("FATAL", "error")],
)
def test_the_go_projects_levels_are_known(written: str, expected: str) -> None:
    """
    In any case, and those that are more severe than an error are errors.
    """
    assert expected == LogSettings.model_validate({"level": written}).level


@pytest.mark.parametrize("quantity", ["", "1", "0.5", "500m", "64Mi", "2.5G", ".5"])
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


def test_every_section_stands_alone() -> None:
    """
    All of it has a default.
    """
    for field in Settings.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            assert field.default == field.annotation()


def test_a_table_of_images_is_checked() -> None:
    """
    The line that could never work is named.
    """
    with pytest.raises(ValidationError, match=r"a/\*: M\.io//b: invalid reference format"):
        ImageSettings(rewrite={"a/b": "m.io/b", "a/*": "M.io//b"})


def registry_mode(address: str, project: str, mode: str = "registry") -> Settings:
    """Settings of a mode with a registry."""
    registry = {"server-address": address, "project": project}
    return Settings.model_validate(
        {"peitho": {"imageMode": mode}, "docker": {"registry": registry}}
    )


@pytest.mark.parametrize(
    ("address", "project"),
    [
        ("harbor.example.com", "chaincode"),
        ("10.0.0.1:8099/", "/chaincode/"),
        ("localhost", ""),
        ("x.io/team/a", "chaincode/b"),
    ],
)
def test_a_registry_is_where_nodes_find_it(address: str, project: str) -> None:
    """
    With a path, with a project, or without.
    """
    found = registry_mode(address, project).docker.registry

    assert (address.strip("/"), project.strip("/")) == (found.server_address, found.project)


@pytest.mark.parametrize(
    ("address", "project", "problem"),
    [
        ("", "a", "server-address: is needed where peitho.imageMode is registry"),
        ("https://x.io", "a", r"server-address: must be HOST\[:PORT\]\[/PATH\]"),
        ("harbor", "a", r"server-address: must be HOST\[:PORT\]\[/PATH\]"),
        ("x.io:port", "a", r"server-address: must be HOST\[:PORT\]\[/PATH\]"),
        ("x.io", "Chaincode", "project: must be names in lower case"),
    ],
)
def test_a_registry_that_nodes_would_not_find_is_refused(
    address: str, project: str, problem: str
) -> None:
    """
    Where it is used: a file for delivery may have anything there.
    """
    with pytest.raises(ValidationError, match=rf"docker\.registry\.{problem}"):
        registry_mode(address, project)

    assert registry_mode(address, project, "delivery")


@pytest.mark.parametrize(
    ("docker", "problem"),
    [
        ({"endpoint": "ssh://host"}, "must be unix:///PATH or tcp://HOST:PORT"),
        ({"endpoint": "docker.sock"}, "must be unix:///PATH or tcp://HOST:PORT"),
        ({"cert-file": "/tls/cert.pem"}, "cert-file and key-file go together"),
        ({"network": ""}, "network\n"),
    ],
)
def test_a_daemon_that_cannot_be_is_told(docker: dict[str, str], problem: str) -> None:
    """
    Before anything is started.
    """
    with pytest.raises(ValidationError, match=problem):
        DockerSettings.model_validate(docker)
