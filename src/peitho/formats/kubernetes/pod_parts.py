"""
The parts that the Pods of builds and of chaincode have in common.

All satisfy Pod Security's `restricted`, unless a setting gives a user 0.
"""

from collections.abc import Mapping, Sequence

from peitho.formats.kubernetes import names
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.kubernetes.pod_options import PodOptions
from peitho.formats.kubernetes.record_secrets import CA_KEY, TOKEN_KEY
from peitho.formats.records import RecordMetadata

# What a node has it uses, as a daemon does; Kubernetes would pull each `:latest` anew, and fail
# where the registry is away. A template may say otherwise.
PULL_POLICY = "IfNotPresent"


def pod_spec(user: int | None, options: PodOptions) -> Manifest:
    """The spec of a Pod that has neither containers nor volumes yet."""
    spec: Manifest = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        # A shell as PID 1 does not end at SIGTERM: every second here is one the peer waits.
        "terminationGracePeriodSeconds": 1,
        "securityContext": _pod_security(user),
    }
    if options.pull_secrets:
        spec["imagePullSecrets"] = [{"name": secret} for secret in options.pull_secrets]
    if options.host_aliases:
        spec["hostAliases"] = [_host_alias(entry) for entry in options.host_aliases]
    return spec


def container_security(user: int | None) -> Manifest:
    """The `securityContext` of every container."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": user != 0,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def variables(env: Sequence[str]) -> list[Manifest]:
    """`KEY=VALUE` as Kubernetes has it; the last of a key wins, one without `=` is left out."""
    values = {
        key: value
        for key, separator, value in (variable.partition("=") for variable in env)
        if separator
    }
    return [{"name": key, "value": names.env_escape(value)} for key, value in values.items()]


def variables_of(
    record: RecordMetadata, env: Sequence[str], keys: Mapping[str, str]
) -> list[Manifest]:
    """
    The variables of a peer's request, by their keys in the record's Secret.

    What has no key there stands in the Pod: an earlier version made the record.
    """
    found = {each["name"]: each for each in variables(env)}
    kept = {name: _from_secret(name, record.kubernetes_name, key) for name, key in keys.items()}
    return [kept.get(name, each) for name, each in found.items()]


def words(command: Sequence[str]) -> list[str]:
    """A command's words; Kubernetes' expansion turns them back into what the peer wrote."""
    return [names.env_escape(word) for word in command]


def access_variables(secret_name: str) -> list[Manifest]:
    """The variables by which a container of ours calls Peitho: its token, and Peitho's CA."""
    return [
        _from_secret(name, secret_name, key)
        for name, key in (("PEITHO_TOKEN", TOKEN_KEY), ("PEITHO_CA", CA_KEY))
    ]


def mount(volume: str, path: str, part: str = "", *, read_only: bool = True) -> Manifest:
    """A volume, or a part of it, at a path; a part can mostly not be written to."""
    entry: Manifest = {"name": volume, "mountPath": path}
    if part:
        entry["subPath"] = part
        if read_only:
            entry["readOnly"] = True
    return entry


def _from_secret(name: str, secret: str, key: str) -> Manifest:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def _pod_security(user: int | None) -> Manifest:
    security: Manifest = {"seccompProfile": {"type": "RuntimeDefault"}}
    if user is None:
        return security | {"runAsNonRoot": True}
    return security | {
        "runAsUser": user,
        "runAsNonRoot": user != 0,
        "runAsGroup": user,
        "fsGroup": user,
    }


def _host_alias(entry: str) -> Manifest:
    address, _, host = entry.rpartition(":")
    return {"ip": address.strip("[]"), "hostnames": [host]}
