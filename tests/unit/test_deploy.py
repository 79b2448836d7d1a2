"""The manifests in deploy/ say what the code says: nobody else would notice."""

import ast
from operator import attrgetter
from pathlib import Path
from typing import Any

import yaml

from peitho.formats.images import references
from peitho.formats.kubernetes import labels, pull_secret, record_secrets
from peitho.program.checks.all import PodChecks
from peitho.rehearsal.generations import GENERATIONS
from peitho.settings.models import PeithoSettings, Settings, TlsSettings
from tests.support import manifests

DEPLOY = Path(__file__).parents[2] / "deploy"
CHAINCODE = {"peitho/chaincode": "true"}


def objects(file: str) -> list[dict[str, Any]]:
    """What is in a file."""
    return list(yaml.safe_load_all((DEPLOY / file).read_text()))


def only(file: str, kind: str) -> dict[str, Any]:
    """The one object of a kind in a file."""
    (found,) = (each for each in objects(file) if each["kind"] == kind)
    return found


def settings(file: str = "peitho.yaml") -> Settings:
    """The settings of the ConfigMap."""
    text = only(file, "ConfigMap")["data"]["peitho.yml"]
    return Settings.model_validate(yaml.safe_load(text))


def variables() -> dict[str, str]:
    """The variables of the admission policy."""
    spec = only("admission-policy.yaml", "ValidatingAdmissionPolicy")["spec"]
    return {each["name"]: each["expression"] for each in spec["variables"]}


def expressions() -> str:
    """What the admission policy looks at, as one text."""
    spec = only("admission-policy.yaml", "ValidatingAdmissionPolicy")["spec"]
    return "\n".join([*variables().values(), *(each["expression"] for each in spec["validations"])])


# What a peer pulls by default: `chaincode` in `sampleconfig/core.yaml` of 1.4.12 to 3.1.5.
OF_PEERS = {
    "1.4": (
        *("fabric-ccenv:1.4", "fabric-baseos:amd64-0.4.22", "fabric-baseimage:amd64-0.4.22"),
        "fabric-javaenv:1.4",
    ),
    "2.2": ("fabric-ccenv:2.2", "fabric-baseos:2.2", "fabric-nodeenv:2.2", "fabric-javaenv:2.2"),
    "2.5": ("fabric-ccenv:2.5", "fabric-baseos:2.5", "fabric-nodeenv:2.5", "fabric-javaenv:2.5"),
    "3.1": ("fabric-ccenv:3.1", "fabric-baseos:3.1", "fabric-nodeenv:2.5", "fabric-javaenv:2.5"),
}


def pulled(node: Any) -> set[str]:
    """All images that an object names."""
    if isinstance(node, list):
        return {name for each in node for name in pulled(each)}
    if not isinstance(node, dict):
        return set()
    image = node.get("image")
    inner = {name for each in node.values() for name in pulled(each)}
    return inner | ({image} if isinstance(image, str) else set())


def test_the_list_of_images_is_what_nodes_pull() -> None:
    """
    Of the manifests, of settings, of `check` and `rehearse`, and of peers: no more and no less.
    """
    lines = (DEPLOY / "images.txt").read_text().splitlines()
    listed = [line for line in lines if line and not line.startswith("#")]
    named = {name for file in DEPLOY.glob("*.yaml") for name in pulled(objects(file.name))}
    named.add(PeithoSettings().puller_image)
    checks = PodChecks()
    named |= {references.parse(name).full() for name in (*checks.builders, *checks.runtimes)}
    for each in GENERATIONS:
        named |= {references.parse(name).full() for name in (each.builder, each.runtime)}
    named |= {f"docker.io/hyperledger/{name}" for names in OF_PEERS.values() for name in names}

    assert sorted(named) == sorted(listed)


def selectors(policy: dict[str, Any], direction: str) -> list[dict[str, Any]]:
    """Whom the rules of a NetworkPolicy name."""
    rules = policy["spec"].get(direction.lower()) or []
    key = "from" if direction == "Ingress" else "to"
    return [peer for rule in rules for peer in rule.get(key, [])]


def test_pods_run_where_the_role_is() -> None:
    """
    The settings name the namespace that the other file makes, and the account is Peitho's.
    """
    namespace = only("chaincode.yaml", "Namespace")["metadata"]
    account = only("peitho.yaml", "ServiceAccount")["metadata"]
    binding = only("chaincode.yaml", "RoleBinding")

    assert settings().kubernetes.namespace == namespace["name"]
    assert {namespace["name"]} == {
        only("chaincode.yaml", kind)["metadata"]["namespace"] for kind in ("Role", "RoleBinding")
    }
    names = {key: account[key] for key in ("name", "namespace")}
    assert [{"kind": "ServiceAccount"} | names] == binding["subjects"]
    assert CHAINCODE.items() <= namespace["labels"].items()


def test_pods_find_peitho_from_another_namespace() -> None:
    """
    By the Service's name with its namespace, at the port of delivery.
    """
    service = only("peitho.yaml", "Service")
    ports = {each["name"]: each["port"] for each in service["spec"]["ports"]}
    place = f"{service['metadata']['name']}.{service['metadata']['namespace']}"

    assert f"{place}:{ports['delivery']}" == settings().peitho.puller_access_address


def test_the_admission_policy_is_for_the_account_that_is_shipped() -> None:
    """
    And for the labels, types and images of the defaults.
    """
    account = only("peitho.yaml", "ServiceAccount")["metadata"]
    spec = only("admission-policy.yaml", "ValidatingAdmissionPolicy")["spec"]
    (condition,) = spec["matchConditions"]
    name = f"system:serviceaccount:{account['namespace']}:{account['name']}"

    assert f"request.userInfo.username == '{name}'" == condition["expression"]
    assert [PeithoSettings().instance] == ast.literal_eval(variables()["instances"])
    puller = settings().peitho.puller_image.rpartition(":")[0]
    images = ast.literal_eval(variables()["images"])
    assert [references.FABRIC_IMAGES, puller] == images
    for label in labels.own_labels("x"):
        assert f"'{label}'" in expressions()
    assert f"'{next(iter(CHAINCODE))}'" in expressions()


def test_the_admission_policy_knows_each_type_of_secret() -> None:
    """
    Those of records, of builds, and the one that nodes pull with.
    """
    build = record_secrets.build_secret(
        instance="x",
        owner="o",
        container_id="1",
        spec=manifests.BUILD,
        token="t",  # noqa: S106  no token of anything
        created="2026-01-02",
    )
    pull = pull_secret.manifest("x", host="h", username="u", password="p", email="")  # noqa: S106

    for secret in (manifests.record(), build, pull):
        assert f"'{secret['type']}'" in expressions()


def test_network_policies_are_for_ports_of_peitho() -> None:
    """
    By their names, which the Deployment has.
    """
    (container,) = only("peitho.yaml", "Deployment")["spec"]["template"]["spec"]["containers"]
    names = {port["name"] for port in container["ports"]}
    rules = only("networkpolicy.yaml", "NetworkPolicy")["spec"]["ingress"]

    assert names == {port["port"] for rule in rules for port in rule["ports"]}
    assert all(rule["from"] for rule in rules)


def test_delivery_is_for_namespaces_of_chaincode_and_pods_of_peitho() -> None:
    """
    By the label of chaincode.yaml, and that of each kind of Pod.
    """
    found = [
        peer
        for peer in selectors(only("networkpolicy.yaml", "NetworkPolicy"), "Ingress")
        if peer.get("namespaceSelector") == {"matchLabels": CHAINCODE}
    ]

    assert [
        {
            "namespaceSelector": {"matchLabels": CHAINCODE},
            "podSelector": {"matchLabels": {"peitho/kind": kind}},
        }
        for kind in ("build", "chaincode", "trial")
    ] == found


def test_nobody_is_let_in_by_an_empty_selector() -> None:
    """
    A selector without labels would be all Pods.
    """
    for policy in [*objects("networkpolicy.yaml"), *objects("chaincode-networkpolicy.yaml")]:
        for peer in selectors(policy, "Ingress"):
            assert all(selector["matchLabels"] for selector in peer.values())


def test_each_file_of_tls_is_mounted_from_a_secret() -> None:
    """
    Those of both listeners; cert-manager makes two of the Secrets.
    """
    pod = only("tls.yaml", "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    secrets = {
        each["name"]: each["secret"]["secretName"] for each in pod["volumes"] if "secret" in each
    }
    folders = {each["mountPath"]: secrets.get(each["name"]) for each in container["volumeMounts"]}
    server = settings("tls.yaml").server

    assert {
        "tls.cert_file": "peitho-tls",
        "tls.key_file": "peitho-tls",
        "tls.client_ca_file": "peers-ca",
        "operations_tls.cert_file": "peitho-operations-tls",
        "operations_tls.key_file": "peitho-operations-tls",
        "operations_tls.client_ca_file": "monitoring-ca",
        "operations_token_file": "peitho-page",
    } == {
        name: folders[str(attrgetter(name)(server).parent)]
        for name in (
            *(
                f"{tls}.{each}"
                for tls in ("tls", "operations_tls")
                for each in TlsSettings.model_fields
            ),
            "operations_token_file",
        )
    }
    made = [each for each in objects("tls.yaml") if each["kind"] == "Certificate"]
    assert ["peitho-tls", "peitho-operations-tls"] == [each["spec"]["secretName"] for each in made]


def test_all_objects_have_their_namespace() -> None:
    """
    So that `kubectl apply` needs none, and takes none from whoever applies.
    """
    for path in sorted(DEPLOY.glob("*.yaml")):
        for each in objects(path.name):
            if each["kind"] == "Namespace" or each["kind"].startswith("Validating"):
                continue
            assert each["metadata"]["namespace"] in ("peitho", "peitho-chaincode"), path.name
