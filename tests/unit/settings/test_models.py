import pytest
from pydantic import BaseModel, ValidationError

from peitho.settings.models import DockerSettings, Settings


def test_settings_cannot_be_changed() -> None:
    """
    What was read is what is in effect.
    """
    with pytest.raises(ValidationError, match="frozen"):
        Settings().kubernetes.namespace = "other"  # type: ignore[misc]


def test_every_section_stands_alone() -> None:
    """
    All of it has a default.
    """
    for field in Settings.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            assert field.default == field.annotation()


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
