from pathlib import Path
from typing import Any

import pytest
import yaml

from peitho.settings import loading
from peitho.settings.loading import SettingsError
from tests.support.settings_files import GO_FILE, load, problems


def test_without_anything_there_are_defaults(tmp_path: Path) -> None:
    """
    An empty file is as good as none.
    """
    found = loading.load(None, {}).settings

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
    ] == sorted(each.partition(":")[0] for each in found)
    assert "server.api: must be HOST:PORT or :PORT (is 'nowhere')" in found
    assert any("'debug', 'info', 'warn' or 'error' (is 'loud')" in each for each in found)


def test_a_source_is_another_when_what_its_files_hold_is(tmp_path: Path) -> None:
    """
    The settings file, and those that variables name in either spelling; no others.
    """
    file, other = tmp_path / "peitho.yml", tmp_path / "password"
    variables = {
        "PEITHO_DOCKER_REGISTRY_PASSWORD_FILE": str(other),
        "PEITHO_PEITHO_IMAGEMODE_FILE": str(tmp_path / "mode"),
    }
    source = loading.SettingsSource(file, {"log.level": "warn"}, variables)
    seen = [source.digest()]
    for path, text in (
        (file, ""),
        (file, "log: {name: a}"),
        (other, "log: {name: a}"),
        (other, "two"),
        (tmp_path / "mode", "delivery"),
    ):
        path.write_text(text)
        seen.append(source.digest())
    (tmp_path / "else").write_text("a")
    found = source.load()

    assert len(seen) == len(set(seen))
    assert seen[-1] == source.digest() == found.digest
    assert ("warn", "a", "two") == (
        found.settings.log.level,
        found.settings.log.name,
        found.settings.docker.registry.password.get_secret_value(),
    )
    assert (
        loading.SettingsSource(None).digest()
        == loading.SettingsSource(None, {"log.level": "info"}).digest()
    )


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """
    One that is not there, and one that is no text.
    """
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    for path in (tmp_path / "none", tmp_path, binary):
        with pytest.raises(SettingsError, match=f"{path}: cannot be read: "):
            loading.load(path, {})


def test_a_section_that_is_no_section_is_told(tmp_path: Path) -> None:
    """
    A variable below it does not hide that.
    """
    (problem,) = problems(tmp_path, "k8s: 5", PEITHO_K8S_NAMESPACE="x")

    assert problem.startswith("k8s: ")


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
    found = loading.load(
        None,
        {
            "PEITHO_K8S_NAMESPACE": "ns",
            "PEITHO_K8S_DNS": '["10.0.0.1:a"]',
            "PEITHO_SERVER_API": "[::1]:80",
        },
    ).settings

    assert ("ns", ("10.0.0.1:a",)) == (found.kubernetes.namespace, found.kubernetes.dns)
    assert "[::1]:80" == found.server.api


def test_a_variable_that_is_no_yaml_and_a_file_that_is_no_text_are_problems(tmp_path: Path) -> None:
    """
    Each is told with the name of its variable.
    """
    (tmp_path / "f").write_bytes(b"\xff")
    wrong = {"PEITHO_BUILDER_USERS": "{x", "PEITHO_LOG_NAME_FILE": str(tmp_path / "f")}

    with pytest.raises(SettingsError) as raised:
        loading.load(None, wrong)

    assert ["PEITHO_BUILDER_USERS", "PEITHO_LOG_NAME_FILE"] == [
        problem.partition(":")[0] for problem in raised.value.problems
    ]


def test_keys_with_nothing_behind_them_are_not_set(tmp_path: Path) -> None:
    """
    Sections and keys whose lines are commented out; null stays where it has a meaning.
    """
    found = load(tmp_path, "docker:\nk8s: {dns: , namespace: }\nbuilder: {user: null}\n")

    assert ("", (), None) == (found.kubernetes.namespace, found.kubernetes.dns, found.builder.user)


def test_every_value_knows_where_it_is_from(tmp_path: Path) -> None:
    """
    The last word is the one that is named.
    """
    path = tmp_path / "peitho.yml"
    path.write_text("k8s: {namespace: a}\nlog: {name: a, level: warn}\n")
    environment = {"PEITHO_LOG_NAME_FILE": str(path), "PEITHO_LOG_LEVEL": "info"}

    found = loading.load(path, environment, {"log.level": "error"})

    assert {
        "k8s.namespace": "file",
        "log.name": "PEITHO_LOG_NAME_FILE",
        "log.level": "flag",
    } == found.origins


def test_an_unknown_key_is_told_with_those_that_are_known(tmp_path: Path) -> None:
    """
    The nearest one, or all of that place.
    """
    found = problems(tmp_path, "k8s: {namspace: x, foo: 1}\npeitho: {image-mode: x}\n")

    assert [
        "k8s.foo: is no setting; known are namespace, kubeconfig, dns",
        "k8s.namspace: is no setting; did you mean namespace?",
        "peitho.image-mode: is no setting; did you mean imageMode?",
    ] == sorted(found)


def test_no_problem_shows_a_secret(tmp_path: Path) -> None:
    """
    Nor does what shows all settings.
    """
    wrong = "docker: {registry: {password: [hush], username: [x]}}"

    assert "hush" not in "".join(problems(tmp_path, wrong))
    assert "hush" not in "".join(problems(tmp_path, "docker: {registry: hush}"))
    path = tmp_path / "peitho.yml"
    path.write_text("docker: {registry: {password: hush}}")
    shown = loading.load(path, {}).render()
    assert "hush" not in shown
    assert "    password: '**********'  # file\n" in shown


def test_templates_are_read_and_their_problems_told(tmp_path: Path) -> None:
    """
    With the key; in a variable they are YAML.
    """
    template = "{spec: {nodeSelector: {a: b}}}"
    found = load(
        tmp_path,
        f"chaincode: {{overrides: [{{match: {{mspId: Org1MSP}}, template: {template}}}]}}",
        environment={"PEITHO_BUILDER_TEMPLATE": template},
    )

    assert {"spec": {"nodeSelector": {"a": "b"}}} == found.builder.template
    (override,) = found.chaincode.overrides
    assert ("Org1MSP", "*") == (override.match.msp_id, override.match.label)
    assert [
        "builder.template: kind: only metadata and spec",
        "chaincode.overrides.0.match.msp: is no setting; did you mean mspId?",
        "chaincode.overrides.0.template: metadata.name: only labels and annotations",
    ] == sorted(
        problems(
            tmp_path,
            "builder: {template: {kind: Pod}}\n"
            "chaincode: {overrides: [{match: {msp: x}, template: {metadata: {name: x}}}]}",
        )
    )


def test_a_problem_of_several_keys_names_them(tmp_path: Path) -> None:
    """
    It has no key of its own.
    """
    (found,) = problems(tmp_path, "peitho: {imageMode: registry}")

    assert found.startswith("docker.registry.server-address: is needed where")


def test_a_registrys_password_may_be_in_a_file_that_is_read_again(tmp_path: Path) -> None:
    """
    The variable with `_FILE` names it for both keys.
    """
    secret = tmp_path / "password"
    secret.write_text("Harbor12345\n")
    variables = {"PEITHO_DOCKER_REGISTRY_PASSWORD_FILE": str(secret)}
    found = load(tmp_path, environment=variables).docker.registry

    assert "Harbor12345" == found.password.get_secret_value()
    assert secret == found.password_file
    assert found.pull_secret is None


@pytest.mark.parametrize("name", ["Org1", "a_b", "-a", "a-", "a.b", "a" * 64, "a b"])
def test_a_namespace_that_kubernetes_would_refuse_is_told(tmp_path: Path, name: str) -> None:
    """
    Before anything is asked of the cluster.
    """
    (problem,) = problems(tmp_path, f"k8s: {{namespace: {name!r}}}")

    assert problem.startswith("k8s.namespace: must be a name that Kubernetes takes")
    for good in ("", "a", "1", "org-1", "a" * 63):
        assert good == load(tmp_path, f"k8s: {{namespace: {good!r}}}").kubernetes.namespace


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("k8s: {dns: ['10.0.0.1:Peer0 org1']}", "k8s.dns.0: 'Peer0 org1' must be a host name of"),
        ("k8s: {dns: ['10.0.0.1:*.org1']}", "k8s.dns.0: '*.org1' must be a host name of"),
        ("peitho: {pullerImage: 'Peitho 1'}", "peitho.pullerImage: invalid reference format"),
        (
            "docker: {registry: {pull-secret: my_secret}}",
            "docker.registry.pull-secret: must be the name of an object",
        ),
        (
            "builder: {resources: {memoryRequest: 2Gi, memoryLimit: 1Gi}}",
            "builder.resources: memoryRequest 2Gi is more than memoryLimit 1Gi",
        ),
        (
            "chaincode: {resources: {cpuRequest: '2', cpuLimit: 1500m}}",
            "chaincode.resources: cpuRequest 2 is more than cpuLimit 1500m",
        ),
        ('dataDir: "/var/\\0"', "dataDir: has a NUL character"),
        (
            'docker: {registry: {password: "a\\0b"}}',
            "docker.registry.password: has a NUL character",
        ),
    ],
)
def test_what_every_pod_would_be_refused_for_is_told(
    tmp_path: Path, text: str, problem: str
) -> None:
    """
    With its key, and without a secret's value.
    """
    (found,) = problems(tmp_path, text)

    assert problem in found
    assert "a\0b" not in found


def test_requests_may_be_as_large_as_limits(tmp_path: Path) -> None:
    """
    Or have no limit.
    """
    text = "{memoryRequest: 1024Mi, memoryLimit: 1Gi, cpuRequest: 8}"
    assert (
        "8" == load(tmp_path, f"chaincode: {{resources: {text}}}").chaincode.resources.cpu_request
    )


def test_a_kubeconfig_that_cannot_be_read_is_told_with_all_else(tmp_path: Path) -> None:
    """
    One that is not there, and a folder.
    """
    for path in (tmp_path / "none", tmp_path):
        text = f"k8s: {{kubeconfig: {path}, namespace: A}}\nsweeper: {{interval: -1}}"
        found = problems(tmp_path, text)

        assert found[0].startswith(f"k8s.kubeconfig: {path} cannot be read: ")
        assert ["k8s.namespace", "sweeper.interval"] == [
            problem.partition(":")[0] for problem in found[1:]
        ]


def test_the_usual_variables_of_proxies_are_taken() -> None:
    """
    Peitho's own come before them, and no password is shown.
    """
    environment = {
        "HTTPS_PROXY": "http://user:planted@proxy.example:3128",
        "http_proxy": "proxy.example:3128",
        "HTTP_PROXY": "http://upper.example",
        "no_proxy": "10.0.0.0/8,.svc",
        "PEITHO_PROXY_NO_PROXY": "*",
    }
    loaded = loading.load(None, environment)

    proxy = loaded.settings.proxy
    assert "http://user:planted@proxy.example:3128" == proxy.https.get_secret_value()
    assert ("http://upper.example", "*") == (proxy.http.get_secret_value(), proxy.no_proxy)
    assert "planted" not in loaded.render()


@pytest.mark.parametrize("value", ["ftp://secret.example", "http://", "http://[", "http://a:b"])
def test_a_proxy_that_can_be_none_is_told(value: str) -> None:
    """
    Without the value, which may have a password.
    """
    with pytest.raises(SettingsError) as raised:
        loading.load(None, {"HTTPS_PROXY": value})

    (problem,) = raised.value.problems
    assert "proxy.https: must be http://[USER:PASSWORD@]HOST:PORT, or empty" in problem
    assert "secret" not in problem


@pytest.mark.parametrize("mode", ["delivery", "registry"])
def test_an_account_in_a_registrys_address_is_refused(tmp_path: Path, mode: str) -> None:
    """
    Whether or not the mode needs it, and without its password: the address is shown and logged.
    """
    (problem,) = problems(
        tmp_path,
        f"peitho: {{imageMode: {mode}}}\n"
        'docker: {registry: {server-address: "robot:planted@registry.example/p"}}',
    )

    assert "docker.registry.server-address: must be HOST[:PORT][/PATH]" in problem
    assert "planted" not in problem
