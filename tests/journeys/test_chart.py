"""The chart: what Helm makes of it, and a release from install to uninstall."""

import ast
import asyncio
import json
import secrets
import shutil
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import yaml

from peitho.settings.models import Settings
from tests.lab import chart, images, pki
from tests.lab import cluster as lab
from tests.lab.chart import CHART, DEPLOY
from tests.lab.cluster import Cluster
from tests.lab.deployed import await_answer
from tests.lab.machine import LabError, run
from tests.support.docker_calls import BareCalls
from tests.support.observe import until

pytestmark = pytest.mark.usefixtures("helm")

FILES = (
    "peitho",
    "tls",
    "chaincode",
    "networkpolicy",
    "chaincode-networkpolicy",
    "admission-policy",
)
# Sets of values that operators would have, each of which takes other branches of the templates.
SETS = {
    "all defaults": {},
    "everything": {
        "namespace": {"create": False},
        "chaincode": {"namespaces": ["org1", "org2"], "podSecurity": "baseline"},
        "image": {"registry": "registry.example", "digest": f"sha256:{'0' * 64}"},
        "imagePullSecrets": [{"name": "mirror"}],
        "settings": {"sweeper": {"interval": 60}, "peitho": {"instance": "two"}},
        "serviceAccount": {"annotations": {"a": "b"}},
        "service": {"type": "LoadBalancer", "annotations": {"a": "b"}},
        "persistence": {"storageClassName": "fast", "size": "1Gi"},
        "podLabels": {"team": "fabric"},
        "podAnnotations": {"a": "b"},
        "nodeSelector": {"a": "b"},
        "tolerations": [{"operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
        ],
        "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
        "extraVolumes": [{"name": "more", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
        "tls": {"secretName": "tls", "clientCa": {"secretName": "ca"}},
        "operations": {
            "tls": {"secretName": "operations", "clientCa": {"secretName": "ca", "key": "x.crt"}},
            "token": {"secretName": "page", "key": "x"},
        },
        "networkPolicy": {
            "enabled": True,
            "peers": [{"podSelector": {"matchLabels": {"app": "peer"}}}],
            "egress": [{"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}],
            "builds": [{"ports": [{"port": 3000}]}],
        },
        "admissionPolicy": {
            "enabled": True,
            "images": ["registry.example/*"],
            "rootImages": ["*/fabric-javaenv"],
            "volumes": ["configMap"],
        },
        "checks": {"initContainer": True, "builderImages": ["registry.example/fabric-ccenv:3.1"]},
        "podDisruptionBudget": {"enabled": True},
        "dashboard": {"enabled": True},
        "extraObjects": [
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "{{ .Release.Name }}-more", "namespace": "default"},
            }
        ],
    },
    "OpenShift, in a registry": {
        "openshift": True,
        "persistence": {"enabled": False},
        "serviceAccount": {"create": False, "name": "given"},
        "settings": {
            "peitho": {"imageMode": "registry"},
            "docker": {"registry": {"server-address": "registry.example", "project": "x"}},
        },
    },
}
TOKEN = "s3cret"  # noqa: S105  of a Peitho of the test
TENANT = {"match": [{"o": "x"}], "msp-ids": ["*"], "networks": ["*"], "peers": ["*"]}
# What an upgrade may say first.
NEW: dict[str, Any] = {
    "operations": {
        "tls": {"secretName": "operations", "clientCa": {"secretName": "ca"}},
        "token": {"secretName": "page"},
    },
    "checks": {"initContainer": True},
    "networkPolicy": {"enabled": True, "peers": [{"podSelector": {}}]},
    "admissionPolicy": {"enabled": True},
    "podMonitor": {"enabled": True, "interval": "30s"},
    "dashboard": {"enabled": True, "labels": {"grafana_dashboard": "1"}},
}
# Kinds of others, which are not in this cluster.
OF_OTHERS = {"certManager": {"enabled": True, "issuerRef": {"name": "fabric"}}} | {
    "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True},
}


@pytest.fixture(scope="module")
def helm() -> str:
    """Helm's program, built here, since no test has the time for it."""
    return chart.helm()


def test_helm_finds_nothing_to_complain_of(helm: str) -> None:
    """
    With the values as they come, and with those of the plain manifests.
    """
    strict = ("lint", "--strict", "--kube-version", "1.35.0", CHART)

    assert "0 chart(s) failed" in run([helm, *strict])
    assert "0 chart(s) failed" in run([helm, *strict, "--values", CHART / "plain.yaml"])


@pytest.mark.parametrize("file", FILES)
def test_plain_manifests_are_rendered_from_the_chart(file: str) -> None:
    """
    Else: `python -m tests.lab.chart`.
    """
    assert chart.plain(file) == (DEPLOY / f"{file}.yaml").read_text()


@pytest.mark.parametrize("values", SETS.values(), ids=SETS)
def test_the_api_server_takes_what_is_rendered(
    cluster: Cluster, tmp_path: Path, values: dict[str, Any]
) -> None:
    """
    As a dry run with strict fields, in namespaces that are there; and Peitho takes its settings.
    """
    values = {"chaincode": {"createNamespaces": False}} | values
    made = list(_rendered(tmp_path, values))
    for each in made:
        if each["metadata"].get("namespace"):
            each["metadata"]["namespace"] = "default"
        if each["kind"] == "Pod":  # whose account a dry run has not made
            each["spec"]["serviceAccountName"] = "default"

    content = json.dumps({"apiVersion": "v1", "kind": "List", "items": made})
    strict = ("create", "--dry-run=server", "--validate=strict", "-f", "-")
    # A Role of the same name comes twice, for two namespaces: a dry run keeps none of them.
    said = cluster.run_kubectl(*strict, stdin=content)
    assert len(made) == said.count("server dry run")
    (written,) = (
        each["data"]["peitho.yml"] for each in made if "peitho.yml" in each.get("data", ())
    )
    Settings.model_validate(yaml.safe_load(written))


def test_the_admission_policy_follows_the_settings(tmp_path: Path) -> None:
    """
    Each tenant has a label of its own, and with a registry its images are admitted.
    """
    settings = {
        "peitho": {"instance": "one", "imageMode": "registry"},
        "docker": {"registry": {"server-address": "harbor.example", "project": "x"}},
        "access": {"tenants": {"default": TENANT, "org1": TENANT}},
    }
    made = _rendered(tmp_path, {"admissionPolicy": {"enabled": True}, "settings": settings})
    (policy,) = (each for each in made if each["kind"] == "ValidatingAdmissionPolicy")
    variables = {each["name"]: each["expression"] for each in policy["spec"]["variables"]}

    assert ["one", "one.org1"] == ast.literal_eval(variables["instances"])
    assert ["*/fabric-*", "docker.io/peitho/peitho", "harbor.example/x/*"] == ast.literal_eval(
        variables["images"]
    )


def test_objects_of_others_are_rendered(tmp_path: Path) -> None:
    """
    A Certificate whose Secret is mounted, a PodMonitor for the Pod, and the alerts as they are.
    """
    made = {each["kind"]: each for each in _rendered(tmp_path, OF_OTHERS)}

    secret = made["Certificate"]["spec"]["secretName"]
    volumes = made["Deployment"]["spec"]["template"]["spec"]["volumes"]
    assert {"name": "tls", "secret": {"secretName": secret}} in volumes
    assert "peitho.peitho.svc" in made["Certificate"]["spec"]["dnsNames"]
    selected = made["PodMonitor"]["spec"]["selector"]["matchLabels"]
    labels = made["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert selected.items() <= labels.items()
    assert "prometheus" == made["PodMonitor"]["metadata"]["labels"]["release"]
    alerts = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())
    assert alerts == made["PrometheusRule"]["spec"]


def test_whoever_calls_the_operations_listener_speaks_tls_with_it(tmp_path: Path) -> None:
    """
    Kubelet, Service and Prometheus, who trusts its CA and has the token or a certificate.
    """
    operations = {"tls": {"clientCa": {"secretName": "ca"}}, "token": {"secretName": "page"}}
    issued = {"operations": True, "issuerRef": {"name": "fabric"}}
    values = {"operations": operations, "certManager": issued, "podMonitor": {"enabled": True}}
    made = {each["kind"]: each for each in _rendered(tmp_path, values)}

    (container,) = made["Deployment"]["spec"]["template"]["spec"]["containers"]
    probes = [container[f"{kind}Probe"]["httpGet"] for kind in ("readiness", "liveness")]
    assert ["HTTPS", "HTTPS"] == [each["scheme"] for each in probes]
    ports = {each["name"]: each for each in made["Service"]["spec"]["ports"]}
    assert "https" == ports["operations"]["appProtocol"]
    certificate = made["Certificate"]["spec"]
    (scraped,) = made["PodMonitor"]["spec"]["podMetricsEndpoints"]
    assert scraped["tlsConfig"]["serverName"] in certificate["dnsNames"]
    ca = {"secret": {"name": certificate["secretName"], "key": "ca.crt"}}
    assert ("https", ca) == (scraped["scheme"], scraped["tlsConfig"]["ca"])
    assert {"type": "Bearer", "credentials": {"name": "page", "key": "token"}} == scraped[
        "authorization"
    ]
    settings = yaml.safe_load(made["ConfigMap"]["data"]["peitho.yml"])
    server = Settings.model_validate(settings).server
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    assert f"{mounts['operations-tls']}/tls.crt" == str(server.operations_tls.cert_file)
    assert f"{mounts['operations-client-ca']}/ca.crt" == str(server.operations_tls.client_ca_file)
    assert f"{mounts['operations-token']}/token" == str(server.operations_token_file)

    shown = {"cert": {"secret": {"name": "prometheus", "key": "tls.crt"}}}
    values["podMonitor"] = {"enabled": True, "tlsConfig": shown}
    made = {each["kind"]: each for each in _rendered(tmp_path, values)}
    (scraped,) = made["PodMonitor"]["spec"]["podMetricsEndpoints"]
    assert shown.items() <= scraped["tlsConfig"].items()
    assert "authorization" not in scraped


@pytest.mark.parametrize("with_values", [True, False])
def test_a_certificate_in_the_settings_alone_counts_as_well(
    tmp_path: Path, *, with_values: bool
) -> None:
    """
    The kubelet speaks TLS to the listener, whichever way it got a certificate.
    """
    tls = {"operationsTls": {"cert-file": "/c", "key-file": "/k"}}
    values = {"settings": {"server": tls if with_values else {}}}
    made = {each["kind"]: each for each in _rendered(tmp_path, values)}

    (container,) = made["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert ("HTTPS" if with_values else None) == container["livenessProbe"]["httpGet"].get("scheme")


def test_probes_and_volume_are_where_the_settings_say(tmp_path: Path) -> None:
    """
    The Service keeps its ports, which peers know, and leads to the listeners wherever they are.
    """
    server = {"api": ":2375", "delivery": "0.0.0.0:2376", "operations": "[::]:7070"}
    values = {"settings": {"server": server, "dataDir": "/data"}}
    made = {each["kind"]: each for each in _rendered(tmp_path, values)}

    (container,) = made["Deployment"]["spec"]["template"]["spec"]["containers"]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert {"docker-api": 2375, "delivery": 2376, "operations": 7070} == ports
    assert "/data" in [each["mountPath"] for each in container["volumeMounts"]]
    assert [8080, 8081, 9090] == [each["port"] for each in made["Service"]["spec"]["ports"]]


# What a release of an older chart lacks: `--reuse-values` begins with its values, old defaults too.
LACKS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "the first chart had": lambda values: _without(values, "operations", "checks"),
    "all blocks": lambda values: _without(values, *_blocks(values)),
    "all blocks in blocks": lambda values: {
        key: _without(value, *_blocks(value)) if key in _blocks(values) else value
        for key, value in values.items()
    },
}


@pytest.mark.parametrize("lacks", LACKS.values(), ids=LACKS)
def test_a_release_of_an_older_chart_is_upgraded_with_its_values(
    tmp_path: Path, lacks: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    """
    `helm upgrade --reuse-values` knows nothing of values that are new: they are as by default.
    """
    older = tmp_path / "chart"
    shutil.copytree(CHART, older)
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    (older / "values.yaml").write_text(yaml.safe_dump(lacks(values)))
    given = tmp_path / "given.yaml"
    given.write_text(yaml.safe_dump(NEW | {key: values[key] for key in ("settings", "resources")}))
    words = ("--values", str(given))

    assert chart.rendered(*words) == chart.rendered(*words, of=older)


def test_what_null_leaves_out_stays_left_out(tmp_path: Path) -> None:
    """
    No limits, no audit trail, no registry, no label: Helm takes null for that.
    """
    values = {
        "image": {"registry": None},
        "resources": None,
        "settings": {"audit": None},
        "dashboard": {"enabled": True, "labels": {"grafana_dashboard": None}},
    }
    made = _rendered(tmp_path, values)

    (deployment,) = (each for each in made if each["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert "resources" not in container
    assert container["image"].startswith("peitho/peitho:")
    maps = {each["metadata"]["name"]: each for each in made if each["kind"] == "ConfigMap"}
    assert "audit" not in yaml.safe_load(maps["peitho"]["data"]["peitho.yml"])
    assert "grafana_dashboard" not in maps["peitho-dashboard"]["metadata"]["labels"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    {
        "settings.sweeper.intervl=3": "intervl",
        "image.pullPolicy=Sometimes": "pullPolicy",
        "chaincode.namespaces=": "namespaces",
        "unknown=1": "unknown",
        "serviceAccount.create=false": "serviceAccount.name is needed",
        "settings.docker.registry.password=x": "would be in a ConfigMap",
        "operations.tls.clientCa.secretName=x": "needs operations.tls.secretName",
        "tls.clientCa.secretName=x": "tls.clientCa needs tls.secretName",
        "fullnameOverride=Bad_Name": "fullnameOverride",
        "podLabels.a=true": "podLabels",
        "certManager.enabled=true": "certManager.issuerRef is needed",
        "certManager.operations=true": "certManager.issuerRef is needed",
        (
            "podMonitor.enabled=true,operations.tls.secretName=x,"
            "operations.tls.clientCa.secretName=x"
        ): "podMonitor needs operations.token",
        (
            "podMonitor.enabled=true,operations.tls.secretName=x,"
            "settings.server.operationsTls.client-ca-file=/x"
        ): "podMonitor needs operations.token",
    }.items(),
)
def test_wrong_values_are_told(wrong: str, words: str) -> None:
    """
    Before anything is installed, with their name.
    """
    with pytest.raises(LabError, match=words.replace(".", "[.]")):
        chart.rendered("--set", wrong)


def _blocks(values: dict[str, Any]) -> list[str]:
    """The values that have values of their own."""
    return [key for key, value in values.items() if isinstance(value, dict)]


def _without(values: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in keys}


def _rendered(folder: Path, values: dict[str, Any]) -> list[dict[str, Any]]:
    path = folder / "values.yaml"
    path.write_text(yaml.safe_dump(values))
    text = chart.rendered("--values", str(path))
    return [each for each in yaml.safe_load_all(text) if each]


def _operations_tls(folder: Path, address: str) -> dict[str, Any]:
    """Values by which the operations listener has a certificate, and asks for one or a token."""
    pki.certificates(folder, host=address, node="node")
    files = {"tls.crt": "apiserver.crt", "tls.key": "apiserver.key", "ca.crt": "ca.crt"}
    content = {key: (folder / name).read_text() for key, name in files.items()}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "operations"}}
    name = {"secretName": "operations"}
    return {
        "operations": {"tls": name | {"clientCa": name}, "token": name},
        "extraObjects": [secret | {"stringData": content | {"token": TOKEN}}],
    }


class Release:
    """A release of the chart in namespaces of its own."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster = cluster
        self.namespace = f"release-{secrets.token_hex(3)}"
        self.chaincode = f"{self.namespace}-chaincode"
        self.certificates = folder / "pki"
        self.address = f"10.96.200.{secrets.randbelow(250) + 1}"
        self._values = folder / "values.yaml"
        repository, _, tag = images.PEITHO.removeprefix("docker.io/").rpartition(":")
        self.values: dict[str, Any] = {
            "fullnameOverride": "peitho",
            "image": {"registry": "docker.io", "repository": repository, "tag": tag},
            "chaincode": {"namespaces": [self.chaincode]},
            "service": {"clusterIP": self.address},
            "persistence": {"storageClassName": ""},
            **_operations_tls(self.certificates, self.address),
        }

    def helm(self, *words: str) -> str:
        """What Helm says."""
        place = ("--namespace", self.namespace, "--kubeconfig", self.cluster.kubeconfig)
        return run([chart.helm(), *words, *place])

    def kubectl(self, *words: str) -> str:
        """What kubectl says of Peitho's namespace."""
        return self.cluster.run_kubectl("-n", self.namespace, *words)

    def put(self, verb: str, *words: str, **values: Any) -> str:
        """Install or upgrade it with values, and wait until it answers."""
        self._values.write_text(yaml.safe_dump(self.values | values))
        with_values = ("--values", str(self._values), "--wait", "--timeout", "120s")
        said = self.helm(verb, "one", str(CHART), *with_values, *words)
        await_answer(self.address)
        return said

    def pods(self) -> list[tuple[str, str]]:
        """The chaincode's Pods: uid and phase."""
        path = f"api/v1/namespaces/{self.chaincode}/pods"
        return [
            (pod["metadata"]["uid"], pod["status"]["phase"])
            for pod in self.cluster.find(path, labels="peitho/kind=chaincode")
        ]


@pytest_asyncio.fixture
async def release(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Release]:
    """One that is not installed yet; nothing of it is left."""
    if not cluster.own:
        pytest.skip("its Service wants an address that another cluster may not have")
    made = Release(cluster, tmp_path)
    await asyncio.to_thread(cluster.apply, lab.volume("peitho", made.namespace))
    try:
        yield made
    finally:
        spaces = ("namespace", made.namespace, made.chaincode, "--ignore-not-found", "--wait=false")
        await asyncio.to_thread(cluster.run_kubectl, "delete", *spaces)
        volume = ("persistentvolume", f"{made.namespace}-peitho", "--wait=false")
        await asyncio.to_thread(cluster.run_kubectl, "delete", *volume)


@pytest.mark.timeout(300)
async def test_chaincode_runs_on_through_the_life_of_a_release(release: Release) -> None:
    """
    Install, test, upgrade, rollback, uninstall, and install again: always the same Pod.

    Each time a check looks first, as an init container; the test has all of it.
    """
    do = asyncio.to_thread
    await do(release.put, "install", "--create-namespace", checks={"initContainer": True})
    await do(_tested, release)
    await _guarded(release)
    async with aiohttp.ClientSession(f"http://{release.address}:8080") as session:
        calls = BareCalls(session)
        await calls.make_image("lives")
        assert 204 == (await calls.launch("lives", "lives")).status
        before = await do(release.pods)
        assert ["Running"] == [phase for _, phase in before]

        await do(release.put, "upgrade", podLabels={"changed": "yes"})
        assert before == await do(release.pods)
        await until(lambda: _knows(calls, "lives"))

        await do(release.helm, "rollback", "one", "1", "--wait", "--timeout", "120s")
        await do(await_answer, release.address)
        assert before == await do(release.pods)
        await until(lambda: _knows(calls, "lives"))

    await do(release.helm, "uninstall", "one", "--wait")
    assert before == await do(release.pods)

    await do(release.put, "install")
    async with aiohttp.ClientSession(f"http://{release.address}:8080") as session:
        calls = BareCalls(session)
        await until(lambda: _knows(calls, "lives"))
        assert before == await do(release.pods)
        assert 200 == (await calls.call("GET", "/images/lives/json")).status
        await calls.remove("lives")


def _tested(release: Release) -> None:
    """Helm's test passes, and tells what is wrong once something is."""
    init = release.kubectl("logs", "deployment/peitho", "--container", "check")
    assert init.endswith(" 0 wrong\n"), init
    said = release.helm("test", "one", "--logs")
    assert 2 == said.count("Phase:          Succeeded"), said
    assert " 0 wrong" in said
    assert "8081 is reached from a Pod" in said
    quota: dict[str, object] = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none", "namespace": release.chaincode},
        "spec": {"hard": {"pods": "0"}},
    }
    release.cluster.apply(quota)
    with pytest.raises(LabError, match="exceeded quota: none"):
        release.helm("test", "one", "--logs", "--filter", "name=peitho-check")
    release.cluster.run_kubectl("-n", release.chaincode, "delete", "resourcequota", "none")


async def _guarded(release: Release) -> None:
    """Metrics and the page are for who has the token, or a certificate of the CA."""
    known = ssl.create_default_context(cafile=release.certificates / "ca.crt")
    shown = ssl.create_default_context(cafile=release.certificates / "ca.crt")
    shown.load_cert_chain(release.certificates / "admin.crt", release.certificates / "admin.key")
    async with aiohttp.ClientSession(f"https://{release.address}:9090") as http:
        for path in ("/", "/metrics"):
            async with http.get(path, ssl=known) as response:
                assert 401 == response.status
            headers = {"Authorization": f"Bearer {TOKEN}"}
            async with http.get(path, ssl=known, headers=headers) as response:
                assert 200 == response.status
            async with http.get(path, ssl=shown) as response:
                assert 200 == response.status


async def _knows(calls: BareCalls, name: str) -> bool:
    try:
        return (await calls.call("GET", f"/containers/{name}/json")).status == 200
    except aiohttp.ClientError:
        return False
