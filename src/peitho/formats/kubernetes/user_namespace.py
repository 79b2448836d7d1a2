"""The user namespace of a Pod, `hostUsers: false`, and what Pod Security says of the user 0."""

import re
from collections.abc import Mapping
from typing import Any

from peitho.formats.kubernetes.objects import Manifest

_POD_SECURITY = re.compile(r"violates PodSecurity.*runAs(NonRoot|User)")
MISSING = (
    "; the user 0 needs a namespace that admits it, such as one of the level `baseline`, or"
    " Kubernetes 1.35 with nodes that have user namespaces: Peitho sets `hostUsers: false` there"
)


def pod_of(made: Manifest) -> Manifest:
    """Return the Pod that a manifest is, or that its Job makes, with a name for a dry run."""
    if "template" not in made["spec"]:
        return made
    template = made["spec"]["template"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": template["metadata"] | {"generateName": f"{made['metadata']['name']}-"},
        "spec": template["spec"],
    }


def may_help(spec: Mapping[str, Any]) -> bool:
    """Whether a Pod has the user 0 and nobody has said which users it has on the node."""
    if "hostUsers" in spec:
        return False
    contexts = [spec.get("securityContext") or {}]
    contexts += [each.get("securityContext") or {} for each in spec["containers"]]
    return any(each.get("runAsUser") == 0 for each in contexts)


def as_root(pod: Manifest) -> Manifest:
    """Return a Pod with the user 0 in place of its own."""
    spec, root = pod["spec"], {"runAsUser": 0, "runAsGroup": 0, "fsGroup": 0, "runAsNonRoot": False}
    containers = [
        each | {"securityContext": (each.get("securityContext") or {}) | {"runAsNonRoot": False}}
        for each in spec["containers"]
    ]
    security = (spec.get("securityContext") or {}) | root
    return pod | {"spec": spec | {"securityContext": security, "containers": containers}}


def given(made: Manifest) -> Manifest:
    """Return a Pod, or a Job, whose Pod has a user namespace."""
    return with_spec(made, {"hostUsers": False})


def with_spec(made: Manifest, more: Mapping[str, Any]) -> Manifest:
    """Return a Pod, or a Job, whose Pod has this in its spec."""
    spec = made["spec"]
    if "template" not in spec:
        return made | {"spec": spec | more}
    template = spec["template"] | {"spec": spec["template"]["spec"] | more}
    return made | {"spec": spec | {"template": template}}


def is_about_root(words: str) -> bool:
    """Whether Pod Security refuses the user 0."""
    return bool(_POD_SECURITY.search(words))


def explained(words: str) -> str:
    """Return a refusal with what is missing, if it is for the user 0."""
    return f"{words}{MISSING}" if is_about_root(words) else words
