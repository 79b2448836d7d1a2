"""What somebody could try with Peitho's token, and the words of the policy that refuse it."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from peitho.formats.kubernetes import record_secrets
from peitho.formats.kubernetes.objects import Manifest
from tests.lab import images as lab_images
from tests.support import manifests

OWNED = "owned by Secrets alone"
SHARED = "share nothing of their node"
ACCOUNT = "without a token"
VOLUMES = "the policy's volumes alone"
PRIVILEGE = "no privilege and no capability"
CONFINED = "seccomp and what else"
ROOT = "run as user 0 only"
IMAGES = "no pattern of the policy's images is for one of"
LABELS = "what has its own labels alone"
KINDS = "Secrets, Pods, Jobs and Events alone"
NAMESPACES = "in namespaces that have the label"
SPEC = "changes labels of Pods"
FINALIZERS = "sets no finalizers"
TYPES = "Secrets of its own types"
COMPONENT = "as the component peitho"

FOREIGN = "foreign"
TYPE_OF_TOKENS = "kubernetes.io/service-account-token"


@dataclass(frozen=True, slots=True)
class Write:
    """A request below a namespace, or below another one, and what refuses it."""

    what: str
    words: str
    method: str
    path: str
    body: Any
    elsewhere: bool = False


def pod(**changes: Any) -> Manifest:
    """The Pod that a Job of Peitho makes, with other values in its spec."""
    made = job()["spec"]["template"]
    metadata = made["metadata"] | {"name": "hostile"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": made["spec"] | changes}


def job() -> Manifest:
    """A Job as Peitho makes it."""
    made = manifests.job(manifests.record())
    for container in _containers(made["spec"]["template"]):
        if container["image"] == manifests.SETTINGS.peitho_image:
            container["image"] = lab_images.PEITHO
    return made


def secret(**changes: Any) -> Manifest:
    """A record as Peitho writes it, with other values."""
    made = record_secrets.build_secret(
        instance="peitho",
        owner="o",
        container_id="ab" * 32,
        spec=manifests.BUILD,
        token="t",  # noqa: S106  no token of anything
        created="2026-01-02T03:04:05Z",
    )
    return made | changes


def of_containers(made: Manifest, **changes: Any) -> Manifest:
    """A Pod whose containers have other values; a value of a map is merged into it."""
    changed = deepcopy(made)
    for container in _containers(changed):
        for key, value in changes.items():
            merged = isinstance(value, dict) and isinstance(container.get(key), dict)
            container[key] = container[key] | value if merged else value
    return changed


def secured(**security: Any) -> Manifest:
    """A Pod whose containers have other values in their `securityContext`."""
    return of_containers(pod(), securityContext=security)


def labelled(made: Manifest, **labels: str) -> Manifest:
    """An object with other labels than Peitho's own."""
    changed = deepcopy(made)
    changed["metadata"]["labels"] = {f"peitho/{key}": labels[key] for key in labels}
    return changed


def metadata(made: Manifest, **changes: Any) -> Manifest:
    """An object with other values in its metadata."""
    return made | {"metadata": made["metadata"] | changes}


def image(name: str) -> Manifest:
    """A Pod of an image."""
    return of_containers(pod(), image=name)


def of_job(template: Manifest) -> Manifest:
    """A Job that makes such Pods."""
    made = job()
    made["spec"]["template"] = {key: template[key] for key in ("metadata", "spec")}
    made["spec"]["template"]["metadata"].pop("name", None)
    return made


def _containers(template: Manifest) -> list[Manifest]:
    return [*template["spec"]["containers"], *template["spec"].get("initContainers", [])]


def volume(**source: Any) -> Manifest:
    """A Pod with a volume more."""
    made = pod()
    made["spec"] = made["spec"] | {"volumes": [*made["spec"]["volumes"], {"name": "x"} | source]}
    return made


def _object(kind: str, version: str = "v1", **fields: Any) -> Manifest:
    labels = secret()["metadata"]["labels"]
    named = {"name": "hostile", "labels": labels}
    return {"apiVersion": version, "kind": kind, "metadata": named} | fields


def _owner(version: str, kind: str) -> Manifest:
    owner = {"apiVersion": version, "kind": kind, "name": "x", "uid": "1"}
    return metadata(pod(), ownerReferences=[owner])


def _event(component: str) -> Manifest:
    about = {"kind": "Job", "name": "x", "namespace": "NAMESPACE"}
    source = {"component": component}
    return _object("Event", involvedObject=about, source=source, reason="X", message="x")


def _post(what: str, words: str, path: str, body: Any, *, elsewhere: bool = False) -> Write:
    return Write(what, words, "POST", path, body, elsewhere)


def _pod(what: str, words: str, body: Manifest) -> Write:
    return _post(what, words, "pods", body)


_ROLE = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
# Of a Pod that is there its image alone may be changed: the rest is as it was by default.
_CHANGED = {"name": "x", "image": "docker.io/evil/miner:1", "imagePullPolicy": "Always"}
_NODE_PORT = {"containerPort": 1, "hostPort": 1}
_EPHEMERAL = {"name": "y", "image": "x", "terminationMessagePolicy": "File"}
_TOKEN_SOURCE = {"sources": [{"serviceAccountToken": {"path": "token"}}]}
_EXEC = f"pods/{FOREIGN}/exec?command=id&stdout=true"
_DEPLOYMENT = {
    "selector": {"matchLabels": {"a": "b"}},
    "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}},
}
PRIVILEGED = secured(privileged=True, allowPrivilegeEscalation=True)

HOSTILE = (
    _pod("a privileged container", PRIVILEGE, PRIVILEGED),
    _pod("privilege escalation", PRIVILEGE, secured(allowPrivilegeEscalation=True)),
    _pod("a capability", PRIVILEGE, secured(capabilities={"drop": ["ALL"], "add": ["NET_RAW"]})),
    _pod("capabilities not dropped", PRIVILEGE, secured(capabilities={})),
    _pod("the node's network", SHARED, pod(hostNetwork=True)),
    _pod("the node's processes", SHARED, pod(hostPID=True)),
    _pod("the node's IPC", SHARED, pod(hostIPC=True)),
    _pod("a port of the node", SHARED, of_containers(pod(), ports=[_NODE_PORT])),
    _pod("a node of choice", SHARED, pod(nodeName="control-plane")),
    _pod("priority over the system", SHARED, pod(priorityClassName="system-node-critical")),
    _pod("a folder of the node", VOLUMES, volume(hostPath={"path": "/"})),
    _pod("a volume of others", VOLUMES, volume(persistentVolumeClaim={"claimName": "theirs"})),
    _pod("a token in a volume", VOLUMES, volume(projected=_TOKEN_SOURCE)),
    _pod("another account", ACCOUNT, pod(serviceAccountName=FOREIGN)),
    _pod("the account's token", ACCOUNT, pod(automountServiceAccountToken=True)),
    _pod("user 0", ROOT, secured(runAsUser=0, runAsNonRoot=False)),
    _pod("no word on user 0", ROOT, secured(runAsNonRoot=False)),
    _pod("no seccomp", CONFINED, secured(seccompProfile={"type": "Unconfined"})),
    _pod("no AppArmor", CONFINED, secured(appArmorProfile={"type": "Unconfined"})),
    _pod("an SELinux type", CONFINED, secured(seLinuxOptions={"type": "spc_t"})),
    _pod("a foreign image", IMAGES, image("docker.io/evil/miner:1")),
    _pod("an image below Fabric's name", IMAGES, image("evil.io/fabric-like/miner:1")),
    _pod("an image by its tag", IMAGES, image("docker.io/evil/miner:fabric-ccenv")),
    _pod("an image by its digest", IMAGES, image(f"evil/miner@sha256:{'0' * 64}")),
    _pod("an image of a like name", IMAGES, image("docker.io/peitho/peitho-not:1")),
    _pod("a Pod of nobody", LABELS, labelled(pod())),
    _pod("a Pod of another", LABELS, labelled(pod(), instance="b")),
    _pod("a foreign owner", OWNED, _owner("apps/v1", "Deployment")),
    _pod("a finalizer", FINALIZERS, metadata(pod(), finalizers=["example.com/never"])),
    _post("a Job of a Pod of the node", SHARED, "jobs", of_job(pod(hostPID=True))),
    _post("a Job of another account", ACCOUNT, "jobs", of_job(pod(serviceAccountName=FOREIGN))),
    _post("a Job of Pods of nobody", LABELS, "jobs", of_job(labelled(pod()))),
    _post("a Secret of nobody", LABELS, "secrets", labelled(secret())),
    _post(
        "a token of an account",
        TYPES,
        "secrets",
        metadata(
            secret(type=TYPE_OF_TOKENS), annotations={"kubernetes.io/service-account.name": FOREIGN}
        ),
    ),
    _post("a Secret elsewhere", NAMESPACES, "secrets", secret(), elsewhere=True),
    _post("a Pod elsewhere", NAMESPACES, "pods", pod(), elsewhere=True),
    Write(
        "a foreign Secret changed", LABELS, "PATCH", f"secrets/{FOREIGN}", {"data": {"a": "Yg=="}}
    ),
    Write(
        "a foreign Secret taken over",
        LABELS,
        "PATCH",
        f"secrets/{FOREIGN}",
        {"metadata": {"labels": secret()["metadata"]["labels"]}},
    ),
    Write(
        "its own Secret given away",
        LABELS,
        "PATCH",
        "secrets/own",
        {"metadata": {"labels": {"peitho/instance": None}}},
    ),
    Write(
        "its own Pod's image changed",
        SPEC,
        "PATCH",
        "pods/own",
        {"spec": {"containers": [_CHANGED]}},
    ),
    Write("a foreign Secret removed", LABELS, "DELETE", f"secrets/{FOREIGN}", None),
    Write("a foreign Pod removed", LABELS, "DELETE", f"pods/{FOREIGN}", None),
    Write("all Secrets removed", LABELS, "DELETE", "secrets", None),
    _post("words of the kubelet", COMPONENT, "events", _event("kubelet")),
    _post("a ConfigMap", KINDS, "configmaps", _object("ConfigMap")),
    _post(
        "a NetworkPolicy",
        KINDS,
        "networkpolicies",
        _object(
            "NetworkPolicy",
            "networking.k8s.io/v1",
            spec={"podSelector": {}, "ingress": [{}], "egress": [{}]},
        ),
    ),
    _post(
        "rights",
        KINDS,
        "rolebindings",
        _object("RoleBinding", "rbac.authorization.k8s.io/v1", roleRef=_ROLE, subjects=[]),
    ),
    _post("an account", KINDS, "serviceaccounts", _object("ServiceAccount")),
    _post(
        "a token by request",
        KINDS,
        f"serviceaccounts/{FOREIGN}/token",
        {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": []},
        },
    ),
    _post(
        "an eviction",
        KINDS,
        f"pods/{FOREIGN}/eviction",
        {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": FOREIGN}},
    ),
    Write("a command in a Pod", KINDS, "POST", _EXEC, None),
    Write(
        "a container in a Pod",
        KINDS,
        "PATCH",
        f"pods/{FOREIGN}/ephemeralcontainers",
        {"spec": {"ephemeralContainers": [_EPHEMERAL]}},
    ),
)

HONEST = (
    _post("a Pod", "", "pods", pod()),
    _post("a Job", "", "jobs", job()),
    _post("a build's Secret", "", "secrets", secret()),
    _post("an Event", "", "events", _event("peitho")),
    _pod("another registry's image", "", image("mirror.example:5000/x/fabric-ccenv:2.5")),
    _pod("a digest", "", image(f"hyperledger/fabric-ccenv@sha256:{'0' * 64}")),
    Write("its own Secret changed", "", "PATCH", "secrets/own", {"data": {"a": "Yg=="}}),
    Write(
        "its own Pod's labels changed",
        "",
        "PATCH",
        "pods/own",
        {"metadata": {"labels": {"app.kubernetes.io/instance": None}}},
    ),
)
