import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from peitho import settings
from peitho.settings import Settings, SettingsError

# The key at the beginning of a problem, without the name of a type that pydantic tried.
KEY = re.compile(r"^(.*?)(?:\.constrained-str|\.literal\[.*\])?:")

GO_FILE = """\
sweeper:
  enable: true
  interval: 5
peitho:
  imageMode: delivery
  pullerAccessAddress: 10.0.0.5:8081
  pullerImage: peitho:v1
k8s:
  kubeconfig: /etc/kube/config
  namespace: fabric
  dns:
    - 10.0.0.1:peer0.org1.example.com
    - "[fd00::1]:peer1"
docker:
  endpoint: unix:///host/var/run/docker.sock
  registry:
    server-address: 10.0.0.9:8099
    project: chaincode
    email: someone@example.com
    username: admin
    password: 12345
log:
  name: peitho
  development: true
  level: debug
  format: console
  enable-color: true
  disable-caller: true
  disable-stacktrace: true
"""


def load(
    tmp_path: Path,
    text: str = "",
    flags: dict[str, Any] | None = None,
    environment: dict[str, str] | None = None,
) -> Settings:
    """Settings of a file's text, these variables, and these flags."""
    path = tmp_path / "peitho.yml"
    path.write_text(text)
    return settings.load(path, environment or {}, flags)


def problems(tmp_path: Path, text: str = "", **environment: str) -> list[str]:
    """What is wrong with a file's text and these variables."""
    with pytest.raises(SettingsError) as raised:
        load(tmp_path, text, environment=environment)
    assert str(raised.value) == "\n".join(raised.value.problems)
    return raised.value.problems


def test_without_anything_there_are_defaults(tmp_path: Path) -> None:
    """
    An empty file is as good as none.
    """
    found = settings.load(None, {})

    assert found == load(tmp_path)
    assert (":8080", ":8081", ":9090") == (
        found.server.api,
        found.server.delivery,
        found.server.operations,
    )
    assert ("delivery", None, 500) == (
        found.peitho.image_mode,
        found.kubernetes.kubeconfig,
        found.chaincode.user,
    )


def test_a_file_of_the_go_project_runs_as_it_is(tmp_path: Path) -> None:
    """
    Its keys are ours.
    """
    found = load(tmp_path, GO_FILE)

    assert ("10.0.0.5:8081", "peitho:v1") == (
        found.peitho.puller_access_address,
        found.peitho.puller_image,
    )
    assert (Path("/etc/kube/config"), "fabric") == (
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


def test_flags_are_over_variables_over_the_file(tmp_path: Path) -> None:
    """
    Key by key; what is not set leaves what is below it.
    """
    text = "k8s: {namespace: file}\nlog: {level: warn, name: file}\ndataDir: /file\n"
    environment = {"PEITHO_DATA_DIR": "/variable", "PEITHO_LOG_LEVEL": "error"}

    found = load(tmp_path, text, {"dataDir": "/flag", "log.level": None}, environment)

    assert ("file", "error", "file", Path("/flag")) == (
        found.kubernetes.namespace,
        found.log.level,
        found.log.name,
        found.data_dir,
    )


@pytest.mark.parametrize(
    ("variable", "value", "key", "expected"),
    [
        ("PEITHO_PEITHO_PULLER_IMAGE", "x:1", "peitho.pullerImage", "x:1"),
        ("PEITHO_DATA_DIR", "/d", "dataDir", "/d"),
        ("PEITHO_BUILDER_START_TIMEOUT_SECONDS", "5", "builder.startTimeoutSeconds", 5.0),
        ("PEITHO_BUILDER_USERS", '{"*javaenv*": 0}', "builder.users", {"*javaenv*": 0}),
        ("PEITHO_LOG_ENABLE_COLOR", "false", "log.enable-color", False),
        (
            "PEITHO_CHAINCODE_RESOURCES_MEMORY_LIMIT",
            "1Gi",
            "chaincode.resources.memoryLimit",
            "1Gi",
        ),
        ("PEITHO_LIMITS_ARCHIVE_BYTES", "7", "limits.archiveBytes", 7),
    ],
)
def test_every_key_has_a_variable(
    tmp_path: Path, variable: str, value: str, key: str, expected: object
) -> None:
    """
    Its path, in upper case with underscores; lists and maps are written as YAML.
    """
    found: Any = load(tmp_path, environment={variable: value}).model_dump(
        mode="json", by_alias=True
    )
    for part in key.split("."):
        found = found[part]

    assert expected == found


def test_a_variable_may_name_a_file_that_has_the_value(tmp_path: Path) -> None:
    """
    As Secrets are mounted; the line end is no part of it, and it wins over the plain variable.
    """
    (tmp_path / "value").write_text("from-file\n")

    found = load(
        tmp_path,
        environment={
            "PEITHO_LOG_NAME": "plain",
            "PEITHO_LOG_NAME_FILE": str(tmp_path / "value"),
        },
    )

    assert "from-file" == found.log.name


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    """
    From the file and from variables, with key, cause and value.
    """
    text = """\
k8s: {namspace: x, dns: [peer0, "no:host"]}
server: {api: nowhere, delivery: ":99999", operations: "host:1"}
builder: {user: -1, deadlineSeconds: 0}
chaincode: {startTimeoutSeconds: 600, resources: {cpuLimit: many}}
peitho: {imageMode: other, instance: Not_A_Label}
unknown: 1
"""
    found = problems(
        tmp_path, text, PEITHO_LOG_LEVEL="loud", PEITHO_DATA_DIR_FILE=str(tmp_path / "none")
    )

    assert [
        "PEITHO_DATA_DIR_FILE",
        "builder.deadlineSeconds",
        "builder.user",
        "chaincode.resources.cpuLimit",
        "chaincode.startTimeoutSeconds",
        "k8s.dns.0",
        "k8s.dns.1",
        "k8s.namspace",
        "log.level",
        "peitho.imageMode",
        "peitho.instance",
        "server.api",
        "server.delivery",
        "server.operations",
        "unknown",
    ] == sorted({KEY.findall(each)[0] for each in found})
    assert "server.api: must be HOST:PORT or :PORT (is 'nowhere')" in found
    assert any("'debug', 'info', 'warn' or 'error' (is 'loud')" in each for each in found)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "is not YAML"),
        ("- a", "must be a mapping of keys, is a list"),
        ("word", "must be a mapping of keys, is a str"),
    ],
)
def test_a_file_that_is_no_mapping_is_told(tmp_path: Path, text: str, message: str) -> None:
    """
    With its path.
    """
    (problem,) = problems(tmp_path, text)

    assert problem.startswith(f"{tmp_path}/peitho.yml: {message}")


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """
    One that is not there, and one that is no text.
    """
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    for path in (tmp_path / "none", tmp_path, binary):
        with pytest.raises(SettingsError, match=f"{path}: cannot be read: "):
            settings.load(path, {})


def test_a_section_that_is_no_section_is_told(tmp_path: Path) -> None:
    """
    A variable below it does not hide that.
    """
    (problem,) = problems(tmp_path, "k8s: 5", PEITHO_K8S_NAMESPACE="x")

    assert problem.startswith("k8s: ")


@pytest.mark.parametrize("address", [":0", ":65535", "127.0.0.1:80", "[::1]:80"])
def test_an_address_to_listen_at_is_taken(tmp_path: Path, address: str) -> None:
    """
    With a host or without.
    """
    assert address == load(tmp_path, flags={"server.api": address}).server.api


def test_settings_cannot_be_changed(tmp_path: Path) -> None:
    """
    What was read is what is in effect.
    """
    found = load(tmp_path)

    with pytest.raises(ValidationError, match="frozen"):
        found.kubernetes.namespace = "other"  # type: ignore[misc]


def test_a_dump_can_be_read_again(tmp_path: Path) -> None:
    """
    With the keys of the file; a secret is not in it.
    """
    found = load(tmp_path, GO_FILE.replace("password: 12345", "password: '**********'"))

    assert found == load(tmp_path, yaml.safe_dump(found.model_dump(mode="json", by_alias=True)))


def test_variables_have_the_names_of_their_keys() -> None:
    """
    Lists are YAML in a variable, addresses are not, though they begin with a bracket.
    """
    found = settings.load(
        None,
        {
            "PEITHO_K8S_NAMESPACE": "ns",
            "PEITHO_K8S_DNS": '["10.0.0.1:a"]',
            "PEITHO_SERVER_API": "[::1]:80",
        },
    )

    assert ("ns", ("10.0.0.1:a",)) == (found.kubernetes.namespace, found.kubernetes.dns)
    assert "[::1]:80" == found.server.api


def test_a_variable_that_is_no_yaml_and_a_file_that_is_no_text_are_problems(tmp_path: Path) -> None:
    """
    Each is told with the name of its variable.
    """
    (tmp_path / "f").write_bytes(b"\xff")
    wrong = {"PEITHO_BUILDER_USERS": "{x", "PEITHO_LOG_NAME_FILE": str(tmp_path / "f")}

    with pytest.raises(SettingsError) as raised:
        settings.load(None, wrong)

    assert ["PEITHO_BUILDER_USERS", "PEITHO_LOG_NAME_FILE"] == [
        problem.partition(":")[0] for problem in raised.value.problems
    ]
