"""
Helm, and the plain manifests in deploy/ that are rendered from the chart.

`python -m tests.lab.chart` writes them anew.
"""

import re
from pathlib import Path

from tests.lab.machine import go_program, run

PROJECT = Path(__file__).parents[2]
CHART = PROJECT / "charts" / "peitho"
DEPLOY = PROJECT / "deploy"

_SOURCE = Path(__file__).parent / "helm"
# A Helm that is built without its release's flags knows of no Kubernetes.
KUBERNETES = "1.35.0"
_HEADS = {
    "peitho": """\
# Peitho in a namespace of its own; builds and chaincode run in another one, of chaincode.yaml:
#     kubectl apply -f deploy/peitho.yaml -f deploy/chaincode.yaml
# Then set CORE_VM_ENDPOINT=tcp://peitho.peitho:8080 on the peers. Yours: the image's name, twice.
""",
    "tls": """\
# Peitho with TLS at the Docker API and at the operations listener: what has other words than in
# peitho.yaml, and the two certificates, which cert-manager makes. With it, in this order:
#     kubectl apply -f deploy/peitho.yaml -f deploy/tls.yaml -f deploy/chaincode.yaml
# Yours: the image's name, twice; the issuer, twice; and three Secrets, with the CA of your peers'
# certificates, the CA of those of browsers and Prometheus (ca.crt in both), and a token.
""",
    "chaincode": """\
# A namespace in which Peitho runs builds and chaincode, and all that Peitho may do there. For
# another one, such as that of another tenant:
#     sed s/peitho-chaincode/NAME/ deploy/chaincode.yaml | kubectl apply -f -
""",
    "networkpolicy": """\
# Who reaches Peitho, and whom it reaches. Write your own values where it says `yours`, then:
#     kubectl apply -f deploy/networkpolicy.yaml -f deploy/chaincode-networkpolicy.yaml
# On a network without NetworkPolicy they do nothing. The kubelet's probes pass on all that have it.
""",
    "chaincode-networkpolicy": """\
# Whom builds and chaincode reach: nobody but those that are named here, and nobody reaches them.
# Write your own values where it says `yours`. For another namespace:
#     sed s/peitho-chaincode/NAME/ deploy/chaincode-networkpolicy.yaml | kubectl apply -f -
""",
    "admission-policy": """\
# What Peitho's account may write, in words that the Role has none for: its own objects alone, in
# the namespaces of chaincode.yaml, and Pods that are `restricted` and run images of your patterns.
# With its token stolen, the API server refuses all else. Kubernetes 1.30 or newer:
#     kubectl apply -f deploy/admission-policy.yaml
# Two places are yours: the account in matchConditions, and the variables down to the line.
""",
}
_TEMPLATES = {
    "peitho": ("account", "settings", "claim", "service", "deployment"),
    "tls": ("settings", "certificate", "service", "deployment"),
    "chaincode": ("chaincode",),
    "networkpolicy": ("networkpolicy",),
    "chaincode-networkpolicy": ("chaincode-networkpolicy",),
    "admission-policy": ("admission-policy",),
}
# What is Helm's own, and what is said where all of it is.
_HELMS = re.compile(
    r"^# Source: .*\n|^ *helm\.sh/(chart|resource-policy): .*\n"
    r"|^ *app\.kubernetes\.io/(managed-by: Helm|version: .*)\n",
    re.MULTILINE,
)
_EMPTY_ANNOTATIONS = re.compile(r"^( *)annotations:\n((?:\1 +#.*\n)*)(?!\1 )", re.MULTILINE)


def helm() -> str:
    """Helm, from the cache or built."""
    return str(go_program(_SOURCE, "helm.sh/helm/v3/cmd/helm", takes="3 minutes"))


def rendered(
    *words: str, release: str = "peitho", namespace: str = "peitho", of: Path = CHART
) -> str:
    """What `helm template` makes of the chart."""
    place = ("--namespace", namespace, "--kube-version", KUBERNETES)
    return run([helm(), "template", release, of, *place, *words])


def plain(file: str) -> str:
    """A file of deploy/, as the chart has it."""
    values = ["--values", str(CHART / "plain.yaml")]
    if file == "tls":
        values += ["--values", str(CHART / "plain-tls.yaml")]
    parts = [
        rendered(*values, "--show-only", f"templates/{template}.yaml").removeprefix("---\n")
        for template in _TEMPLATES[file]
    ]
    text = "---\n".join(part.strip("\n") + "\n" for part in parts)
    text = _EMPTY_ANNOTATIONS.sub("", _HELMS.sub("", text))
    return _HEADS[file] + text.replace("---\n---\n", "---\n")


def main() -> None:
    """Write all of deploy/ anew that is rendered."""
    for file in _HEADS:
        (DEPLOY / f"{file}.yaml").write_text(plain(file))


if __name__ == "__main__":
    main()
