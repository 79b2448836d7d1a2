from pathlib import Path

import pytest

from peitho import __version__
from peitho.settings import loading
from tests.support.settings_files import GO_FILE, KUBECONFIG, load

OWN_IMAGE = f"docker.io/peitho/peitho:{__version__}"
# As it is in the README of the Go project, comments left out.
README = """\
sweeper:
  enable: true
  interval: 5
peitho:
  imageMode: delivery
  pullerAccessAddress: http://peitho:8080/tar
  pullerImage: x.x.x.x:8099/platform/puller-amd64:v-2-g5cada04
k8s:
  namespace: fabric
  kubeconfig: /etc/kube/config
  dns:
    - 127.0.0.1:peer0.org1.example.com
    - 127.0.0.1:peer1.org1.example.com
docker:
  endpoint: unix:///host/var/run/docker.sock
  registry:
    server-address:
      xxx.xxx.xxx.xxx:xxxx
    project:
      chaincode
    email:
      litesky@foxmail.com
    username:
      admin
    password:
      harbor

log:
  name: peitho
  development: true
  level: debug
  format: console
  enable-color: true
  disable-caller: true
  disable-stacktrace: false
"""


def test_a_file_of_the_go_project_runs_as_it_is(tmp_path: Path) -> None:
    """
    Its keys are ours.
    """
    found = load(tmp_path, GO_FILE)

    assert ("10.0.0.5:8081", "peitho:v1") == (
        found.peitho.puller_access_address,
        found.peitho.puller_image,
    )
    assert (tmp_path / "kubeconfig", "fabric") == (
        found.kubernetes.kubeconfig,
        found.kubernetes.namespace,
    )
    assert ("10.0.0.1:peer0.org1.example.com", "[fd00::1]:peer1") == found.kubernetes.dns
    assert (True, 5) == (found.sweeper.enable, found.sweeper.interval)
    registry = found.docker.registry
    assert ("unix:///host/var/run/docker.sock", "10.0.0.9:8099", "chaincode", "admin", "12345") == (
        found.docker.endpoint,
        registry.server_address,
        registry.project,
        registry.username,
        registry.password.get_secret_value(),
    )
    assert ("debug", "console", True) == (
        found.log.level,
        found.log.format,
        found.log.disable_stacktrace,
    )


def test_a_readme_of_the_go_project_runs_as_it_is(tmp_path: Path) -> None:
    """
    Its URL and its puller become what they mean here; all of that is in one note for each key.
    """
    path = tmp_path / "peitho.yml"
    (tmp_path / "kubeconfig").touch()
    path.write_text(README.replace(KUBECONFIG, str(tmp_path / "kubeconfig")))

    found = loading.load(path, {})

    assert ("peitho:8081", OWN_IMAGE) == (
        found.settings.peitho.puller_access_address,
        found.settings.peitho.puller_image,
    )
    assert {
        "log.development": "has no meaning here",
        "log.disable-caller": "has no meaning here",
        "log.disable-stacktrace": "has no meaning here",
        "peitho.pullerAccessAddress": "is taken as peitho:8081, the delivery listener",
        "peitho.pullerImage": f"is the Go project's puller; {OWN_IMAGE} is used",
    } == found.notes


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("http://peitho.fabric:8080/tar", "peitho.fabric:9999"),
        ("https://peitho/tar/", "peitho:9999"),
        ("http://[fd00::1]:8080/tar", "[fd00::1]:9999"),
        ("peitho:8081", "peitho:8081"),
    ],
)
def test_the_go_projects_address_leads_to_the_delivery_listener(
    tmp_path: Path, written: str, expected: str
) -> None:
    """
    The host is kept, the port is the listener's; an address of ours is left alone.
    """
    text = f'peitho: {{pullerAccessAddress: "{written}"}}\nserver: {{delivery: ":9999"}}\n'

    assert expected == load(tmp_path, text).peitho.puller_access_address


@pytest.mark.parametrize(
    ("image", "is_theirs"),
    [
        ("x:8099/platform/puller-amd64:v-2-g5cada04", True),
        ("puller", True),
        ("x.io/puller@sha256:00", True),
        ("x.io/puller/peitho:1", False),
        ("x.io/peitho-puller:1", False),
    ],
)
def test_the_go_projects_puller_is_known_by_its_name(
    tmp_path: Path, image: str, *, is_theirs: bool
) -> None:
    """
    It cannot do what ours does; any other image is taken for Peitho's own.
    """
    found = load(tmp_path, f"peitho: {{pullerImage: '{image}'}}").peitho.puller_image

    assert (OWN_IMAGE if is_theirs else image) == found


def test_what_is_set_nowhere_needs_no_word() -> None:
    """
    Only keys that the operator wrote are told of, from wherever.
    """
    assert {} == loading.load(None, {}).notes
    assert {"log.development"} == set(loading.load(None, {}, {"log.development": "true"}).notes)


def test_variables_of_the_go_project_are_read(tmp_path: Path) -> None:
    """
    It has no underscore within a key.
    """
    environment = {
        "PEITHO_PEITHO_PULLERIMAGE": "x:1",
        "PEITHO_DOCKER_REGISTRY_SERVER_ADDRESS": "r:1",
        "PEITHO_K8S_DNS": "10.0.0.1:a,10.0.0.2:b",
    }

    found = load(tmp_path, environment=environment)

    assert "x:1" == found.peitho.puller_image
    assert "r:1" == found.docker.registry.server_address
    assert ("10.0.0.1:a", "10.0.0.2:b") == found.kubernetes.dns
