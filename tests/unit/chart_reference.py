"""
`values.schema.json` and `README.md` of the chart, made from its values and from the settings.

`python -m tests.unit.chart_reference` writes them anew, and copies what its templates read.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from peitho.settings.models import Settings

CHART = Path(__file__).parents[2] / "charts" / "peitho"

MONITORING = CHART.parents[1] / "deploy" / "monitoring"
# A chart has nothing of what is beside it, and its templates do not see its values as they come.
COPIED = {
    "alerts.yaml": MONITORING / "alerts.yaml",
    "dashboard.json": MONITORING / "dashboard.json",
    "defaults.yaml": CHART / "values.yaml",
}

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
YES_OR_NO: Schema = {"type": "boolean"}
MAP: Schema = {"type": "object"}
TEXTS: Schema = {"type": "object", "additionalProperties": {"type": ["string", "null"]}}
NAME: Schema = {"type": "string", "pattern": "^([a-z]([-a-z0-9]*[a-z0-9])?)?$"}
LIST: Schema = {"type": "array", "items": {"type": "object"}}
WORDS: Schema = {"type": "array", "items": TEXT}
PORTS: Schema = {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 65535}}
NAMESPACE: Schema = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"}


@dataclass(frozen=True, slots=True)
class Value:
    """A value of the chart: its name with dots, what it may be, and what it is for."""

    name: str
    schema: Schema
    what_for: str


VALUES = (
    Value("nameOverride", NAME, "The name in labels, in place of the chart's."),
    Value("fullnameOverride", NAME, "The name of all objects, in place of one of the release's."),
    Value("image.registry", TEXT, "Where Peitho's image is."),
    Value("image.repository", TEXT, "Its repository there."),
    Value("image.tag", TEXT, "Its tag; empty: the chart's `appVersion`."),
    Value(
        "image.digest",
        {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
        "Its digest, in place of a tag.",
    ),
    Value(
        "image.pullPolicy",
        {"enum": ["IfNotPresent", "Always", "Never"]},
        "When nodes pull it for Peitho itself.",
    ),
    Value("imagePullSecrets", LIST, "Secrets by which nodes pull it: `[{name: mirror}]`."),
    Value(
        "settings",
        {"$ref": "#/$defs/Settings"},
        "Peitho's [settings](../../docs/reference/settings.md), as in its file. "
        "`k8s.namespace`, `peitho.pullerAccessAddress`, `peitho.pullerImage`, `server.tls` "
        "and other keys of `server` follow from other values, unless they are given here. They are "
        "in a ConfigMap, so a password comes by `extraEnv` or `extraVolumes`.",
    ),
    Value("namespace.create", YES_OR_NO, "Whether the release's own namespace is an object of it."),
    Value(
        "chaincode.namespaces",
        {"type": "array", "minItems": 1, "uniqueItems": True, "items": NAMESPACE},
        "Where builds and chaincode run, with a Role each; the first is `k8s.namespace`, others "
        "are for tenants.",
    ),
    Value(
        "chaincode.createNamespaces",
        YES_OR_NO,
        "Whether the chart makes them; they stay when a release goes. Those that are there need "
        'the label `peitho/chaincode: "true"`.',
    ),
    Value(
        "chaincode.podSecurity",
        {"enum": ["restricted", "baseline", "privileged"]},
        "Their Pod Security level; Java as user 0 needs `baseline`.",
    ),
    Value("serviceAccount.create", YES_OR_NO, "Whether the chart makes Peitho's account."),
    Value("serviceAccount.name", TEXT, "Its name; empty: that of the other objects."),
    Value("serviceAccount.annotations", TEXTS, "Its annotations."),
    Value(
        "service.type",
        {"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
        "Who can reach the Service. Peers outside of the cluster want another one, and TLS.",
    ),
    Value("service.clusterIP", TEXT, "Its address, where Pods have no DNS; empty: any."),
    Value("service.annotations", TEXTS, "Its annotations."),
    Value(
        "persistence.enabled",
        YES_OR_NO,
        "Whether images are on a volume. Without one they go with the Pod, which is right with "
        "`settings.peitho.imageMode: registry` alone.",
    ),
    Value("persistence.existingClaim", TEXT, "A claim that is there, in place of the chart's."),
    Value(
        "persistence.storageClassName",
        {"type": ["string", "null"]},
        "The claim's class; null: the cluster's default.",
    ),
    Value("persistence.size", TEXT, "The claim's size."),
    Value("persistence.keep", YES_OR_NO, "Whether the claim stays when a release goes."),
    Value("openshift", YES_OR_NO, "Leaves the numbers of users to OpenShift."),
    Value("resources", MAP, "What Peitho asks for, and may use."),
    Value("podLabels", TEXTS, "More labels of its Pod."),
    Value("podAnnotations", TEXTS, "Annotations of its Pod."),
    Value("nodeSelector", TEXTS, "Which nodes it may be on."),
    Value("tolerations", LIST, "Which taints it bears."),
    Value("affinity", MAP, "Where it would rather be."),
    Value("topologySpreadConstraints", LIST, "How it is spread, beside other Pods."),
    Value("priorityClassName", TEXT, "Its priority class."),
    Value(
        "extraEnv",
        LIST,
        "More variables, such as `HTTPS_PROXY`. The certificate of a listener comes by values or "
        "`settings`: the probes do not see variables.",
    ),
    Value("extraVolumes", LIST, "More volumes, such as a Secret with the registry's password."),
    Value("extraVolumeMounts", LIST, "Where they are mounted."),
    Value("tls.secretName", TEXT, "A Secret with `tls.crt` and `tls.key` for the Docker API."),
    Value(
        "tls.clientCa.secretName",
        TEXT,
        "A Secret with the CA of peers' certificates; nobody else is answered then.",
    ),
    Value("tls.clientCa.key", TEXT, "The key of the CA in it."),
    Value(
        "operations.tls.secretName",
        TEXT,
        "A Secret with `tls.crt` and `tls.key` for the operations listener "
        "([guide](../../docs/guides/tls.md#the-operations-listener)).",
    ),
    Value(
        "operations.tls.clientCa.secretName",
        TEXT,
        "A Secret with a CA: the status page and metrics are for who shows a certificate of it, or "
        "has the token.",
    ),
    Value("operations.tls.clientCa.key", TEXT, "The key of the CA in it."),
    Value(
        "operations.token.secretName",
        TEXT,
        "A Secret with the token of the [status page](../../docs/guides/status-page.md).",
    ),
    Value("operations.token.key", TEXT, "The key of the token in it."),
    Value("certManager.enabled", YES_OR_NO, "Whether cert-manager makes the certificate of `tls`."),
    Value("certManager.operations", YES_OR_NO, "Whether it makes that of `operations.tls`."),
    Value("certManager.issuerRef", MAP, "By which issuer: `{kind: Issuer, name: fabric}`."),
    Value(
        "networkPolicy.enabled",
        YES_OR_NO,
        "Whether nobody reaches anybody but whom these values name "
        "([guide](../../docs/guides/network.md)).",
    ),
    Value("networkPolicy.peers", LIST, "Your peers, as `from` of a NetworkPolicy has them."),
    Value("networkPolicy.operations", LIST, "Who reads metrics and health, in the same way."),
    Value("networkPolicy.dns", LIST, "The cluster's DNS, in the same way."),
    Value("networkPolicy.egressPorts", PORTS, "Ports of the API server and of registries."),
    Value("networkPolicy.egress", LIST, "More rules of whom Peitho reaches."),
    Value("networkPolicy.chaincodePorts", PORTS, "Ports at which chaincode calls its peer."),
    Value("networkPolicy.builds", LIST, "Rules of whom builds reach, such as a GOPROXY."),
    Value(
        "admissionPolicy.enabled",
        YES_OR_NO,
        "Whether the API server bounds what Peitho's account writes "
        "([guide](../../docs/guides/admission.md)); from Kubernetes 1.30 on.",
    ),
    Value(
        "admissionPolicy.images",
        WORDS,
        "Patterns of images of Pods; Peitho's own, and those that it pushes, are among them.",
    ),
    Value("admissionPolicy.rootImages", WORDS, "Patterns of images that may run as user 0."),
    Value("admissionPolicy.volumes", WORDS, "Kinds of volumes that templates add."),
    Value("admissionPolicy.serviceAccounts", WORDS, "Accounts that Pods may run as."),
    Value(
        "checks.test",
        YES_OR_NO,
        "Whether `helm test` has [`peitho check`](../../docs/guides/check.md) in a Pod beside "
        "Peitho's, with the same volume; not for a claim that is ReadWriteOncePod.",
    ),
    Value(
        "checks.initContainer",
        YES_OR_NO,
        "Whether Peitho starts only once that finds nothing wrong; it makes no Pods then, and "
        "leaves peers out.",
    ),
    Value(
        "checks.builderImages",
        WORDS,
        "Which builder images that test has a Pod pull; empty: Fabric's ccenv of 2.5.",
    ),
    Value(
        "checks.runtimeImages",
        WORDS,
        "The same for images of chaincode; empty: Fabric's baseos of 2.5.",
    ),
    Value(
        "podDisruptionBudget.enabled",
        YES_OR_NO,
        "Whether a drain waits until somebody moves Peitho, of which there is one.",
    ),
    Value("podMonitor.enabled", YES_OR_NO, "Whether the Prometheus operator scrapes Peitho."),
    Value("podMonitor.labels", MAP, "Labels by which it finds the PodMonitor."),
    Value("podMonitor.interval", TEXT, "How often it scrapes."),
    Value(
        "podMonitor.tlsConfig",
        MAP,
        "Its `tlsConfig`, where the operations listener has TLS: `ca` is that of the listener's "
        "Secret, unless it is given here, and `cert` with `keySecret` what Prometheus shows.",
    ),
    Value(
        "prometheusRule.enabled",
        YES_OR_NO,
        "Whether it has the [alerts](../../docs/runbooks/index.md).",
    ),
    Value("prometheusRule.labels", MAP, "Labels by which it finds them."),
    Value("dashboard.enabled", YES_OR_NO, "Whether Grafana gets the dashboard, in a ConfigMap."),
    Value("dashboard.labels", MAP, "Labels by which Grafana finds it."),
    Value("extraObjects", LIST, "More objects of the release; they are templates."),
)

_README_HEAD = """\
# The chart

```sh
helm install peitho charts/peitho --namespace peitho --create-namespace \\
  --set image.registry=registry.example
helm test peitho --namespace peitho --logs
```

installs Peitho, and makes the namespace `peitho-chaincode`, in which builds and chaincode run. What
to do with peers, and why there are two namespaces, is in [the guide](../../docs/guides/install.md).
The plain manifests in [`deploy/`](../../deploy/peitho.yaml) are rendered from this chart.

- **Chaincode runs on** through upgrade, rollback and uninstall; a build that is under way ends with
  Peitho's Pod. Peers are not answered while it is replaced, so do none of them while peers start.
- **Uninstall** leaves the volume claim (`persistence.keep`) and the namespaces of chaincode. `helm
  install` with the same names takes both again.
- **Values** that a release lacks are as by default, so that `helm upgrade --reuse-values` goes on
  from an older chart. Null takes away `resources`, `image.registry`, `podMonitor.interval`, labels
  of the dashboard, and what is in `settings`.
- **Settings** are followed without a restart, most of them
  ([which](../../docs/guides/change-settings.md)).

## Values

<!-- Made by `python -m tests.unit.chart_reference`; do not edit. -->
"""


def schema() -> Schema:
    """What `values.yaml` may have: the chart's values, and the settings as they are."""
    settings = Settings.model_json_schema()
    definitions = settings.pop("$defs") | {"Settings": settings}
    root = _closed()
    for value in VALUES:
        *parents, name = value.name.split(".")
        place = root
        for parent in parents:
            place = place["properties"].setdefault(parent, _closed())
        place["properties"][name] = {"description": value.what_for} | value.schema
    # Helm's own, for charts that have this one as a part.
    root["properties"]["global"] = MAP
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": definitions} | root


def schema_text() -> str:
    """The same, as it is in the file."""
    return json.dumps(schema(), indent=2) + "\n"


def readme() -> str:
    """The page of the chart."""
    given = yaml.safe_load((CHART / "values.yaml").read_text())
    rows = [
        f"| `{value.name}` | {value.what_for} | `{json.dumps(_at(given, value.name))}` |"
        for value in VALUES
    ]
    return "\n".join([_README_HEAD, "| value | | default |", "|---|---|---|", *rows, ""])


def names(values: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """The names of values, down to those that are described."""
    described = {value.name for value in VALUES}
    for key, value in values.items():
        name = f"{before}{key}"
        if name not in described and isinstance(value, dict) and value:
            yield from names(value, f"{name}.")
        else:
            yield name


def _closed() -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": {}}


def _at(values: Mapping[str, Any], name: str) -> Any:
    found: Any = values
    for part in name.split("."):
        found = found[part]
    return found


def main() -> None:
    """Write all of them anew."""
    for name, source in COPIED.items():
        (CHART / "files" / name).write_bytes(source.read_bytes())
    (CHART / "values.schema.json").write_text(schema_text())
    (CHART / "README.md").write_text(readme())


if __name__ == "__main__":
    main()
