"""
The Kubernetes objects that run a peer's containers.

A started chaincode is a Job that its record owns, a build a Pod that its record owns.  All satisfy
Pod Security's `restricted`, unless a setting gives a user 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from peitho.formats.images import image_record, references
from peitho.formats.images.image_record import Image
from peitho.formats.kubernetes import names, templates
from peitho.formats.kubernetes.build_wrapper import WRAPPER
from peitho.formats.kubernetes.records import (
    BUILD,
    CHAINCODE,
    ID,
    TOKEN_KEY,
    ContainerSpec,
    Manifest,
    files_of,
    spec_of,
)
from peitho.formats.kubernetes.resources import UNLIMITED, requirements
from peitho.formats.kubernetes.templates import TemplateOverride

HELPER = "helper"
PULLER = "puller"

_CONTROL = "/peitho"
_LAYER = "/layer"


@dataclass(frozen=True, slots=True)
class PodOptions:
    """What the operator decided about one kind of Pod; `None` of a user leaves it to the image."""

    instance: str
    peitho_image: str
    peitho_url: str
    user: int | None
    users: Mapping[str, int | None]
    requests: Mapping[str, str]
    limits: Mapping[str, str]
    host_aliases: Sequence[str] = ()
    rewrite: Mapping[str, str] = field(default_factory=dict)
    template: Mapping[str, Any] = field(default_factory=dict)
    overrides: Sequence[TemplateOverride] = ()
    pull_secrets: Sequence[str] = ()

    def user_for(self, image: str) -> int | None:
        """The numeric user for an image: the first pattern that matches, else the default."""
        for pattern, user in self.users.items():
            if fnmatchcase(image, pattern):
                return user
        return self.user

    def pulled(self, image: str) -> str:
        """The image that nodes pull for the one that a peer named."""
        return references.rewritten(image, self.rewrite)

    def fitted(self, made: Manifest, env: Sequence[str] = ()) -> Manifest:
        """
        A Pod or Pod template of ours with the operator's, for a container with these variables.

        Raises TemplateRefused for one that would change what we rely on.
        """
        found = [self.template, *(each.template for each in self.overrides if each.matches(env))]
        return templates.applied(made, found) if any(found) else made


def event(about: Manifest, *, reason: str, message: str, warning: bool, at: str) -> Manifest:
    """An Event on an object, given as a reference to it; `at` is RFC 3339."""
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{about['name'][:50]}-"},
        "involvedObject": about,
        "reason": reason,
        "message": message[:1000],
        "type": "Warning" if warning else "Normal",
        "source": {"component": "peitho"},
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    }


def chaincode_job(
    secret: Manifest, image: Image, *, settings: PodOptions, reference: str = ""
) -> Manifest:
    """
    The Job that is a started chaincode container; its Pod is never made a second time.

    `reference` is the image in a registry; without, it is the runtime image and a layer.
    """
    metadata = secret["metadata"]
    template = {
        "metadata": {
            "labels": metadata["labels"],
            "annotations": _public(metadata["annotations"])
            | {"kubectl.kubernetes.io/default-container": CHAINCODE},
        },
        "spec": _chaincode_pod(
            secret,
            image,
            settings=settings,
            hostname=metadata["annotations"][ID],
            reference=reference,
        ),
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(secret),
            "labels": metadata["labels"],
            "annotations": _public(metadata["annotations"]),
            "ownerReferences": [_owner(secret)],
        },
        "spec": {
            "backoffLimit": 0,
            "template": settings.fitted(template, spec_of(secret).env),
        },
    }


def job_name(secret: Manifest) -> str:
    """A Job's name is never used twice: a launch must not meet the end of the one before."""
    metadata = secret["metadata"]
    return f"{metadata['name']}-{metadata['annotations'][ID][:8]}"


def is_complete(job: Manifest) -> bool:
    """Whether a Job is over because its process exited with 0."""
    conditions = job.get("status", {}).get("conditions") or []
    return any(each["type"] == "Complete" and each["status"] == "True" for each in conditions)


def finished_at(job: Manifest) -> str:
    """When a Job was over, by its own word, RFC 3339; empty while it is not."""
    for condition in job.get("status", {}).get("conditions") or []:
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            return str(condition["lastTransitionTime"])
    return ""


def _chaincode_pod(
    secret: Manifest, image: Image, *, settings: PodOptions, hostname: str, reference: str
) -> Manifest:
    spec = spec_of(secret)
    user = settings.user_for(image.runtime)
    main = _chaincode_container(secret, image, settings=settings, user=user)
    pod = _pod(user, settings) | {
        "hostname": hostname[:12],
        "initContainers": [_puller(secret, image, settings=settings, user=user)],
        "containers": [main],
        "volumes": [{"name": "layer", "emptyDir": {}}],
    }
    if image.architecture:
        pod["nodeSelector"] = {"kubernetes.io/arch": image.architecture}
    if files := files_of(secret):
        pod["volumes"].append(_files_volume(secret["metadata"]["name"], files))
    if reference:
        _run_whole(pod, reference)
    if spec.host.shm_bytes > 0:
        main["volumeMounts"].append(_mount("shm", "/dev/shm"))  # noqa: S108  where Docker has it
        shared = {"medium": "Memory", "sizeLimit": str(spec.host.shm_bytes)}
        pod["volumes"].append({"name": "shm", "emptyDir": shared})
    return pod


def _chaincode_container(
    secret: Manifest, image: Image, *, settings: PodOptions, user: int | None
) -> Manifest:
    spec = spec_of(secret)
    main: Manifest = {
        "name": CHAINCODE,
        "image": settings.pulled(image.runtime),
        "args": _escaped(spec.command),
        "env": _env(image, spec),
        "resources": requirements(spec.host, requests=settings.requests, limits=settings.limits),
        "securityContext": _security(user),
        # The kubelet puts the last lines of the log into the Pod's status, if it fails.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            *(_mount("layer", place, part) for place, part in image_record.mounts(image).items()),
            *(_mount("files", path, key) for path, key in files_of(secret).items()),
        ],
    }
    if spec.entrypoint:
        main["command"] = _escaped(spec.entrypoint)
    if spec.working_directory:
        main["workingDir"] = spec.working_directory
    return main


def _files_volume(secret_name: str, files: Mapping[str, str]) -> Manifest:
    """What the peer uploaded, by the keys that it has in the Secret."""
    items = [{"key": key, "path": key} for key in files.values()]
    source = {"secretName": secret_name, "defaultMode": 0o444, "items": items}
    return {"name": "files", "secret": source}


def _run_whole(pod: Manifest, reference: str) -> None:
    """Run an image that has the layer in it: nothing is fetched, and nothing mounted for it."""
    main = pod["containers"][0]
    main["image"] = reference
    main["volumeMounts"] = [each for each in main["volumeMounts"] if each["name"] != "layer"]
    pod["volumes"] = [each for each in pod["volumes"] if each["name"] != "layer"]
    del pod["initContainers"]


def _puller(secret: Manifest, image: Image, *, settings: PodOptions, user: int | None) -> Manifest:
    return {
        "name": PULLER,
        "image": settings.peitho_image,
        "command": ["python", "-m", "peitho.pod.puller"],
        "env": [
            {"name": "PEITHO_URL", "value": settings.peitho_url},
            {"name": "PEITHO_BLOB", "value": image.layer},
            {"name": "PEITHO_TARGET", "value": _LAYER},
            _token(secret["metadata"]["name"]),
        ],
        # Reserved for the Pod's whole life, though the puller lives for half a second.
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
        "securityContext": _security(user),
        "volumeMounts": [_mount("layer", _LAYER)],
    }


def build_pod(  # noqa: PLR0913  a build is these six things
    secret: Manifest,
    spec: ContainerSpec,
    *,
    settings: PodOptions,
    uploads: Sequence[str],
    output: str,
    deadline_seconds: int,
) -> Manifest:
    """
    The Pod of a build: the builder image with the peer's command, and the helper beside it.

    `uploads` are the directories the peer uploaded to, `output` the one it will download.
    """
    metadata = secret["metadata"]
    user = settings.user_for(spec.image)
    shared = {path: f"upload-{number}" for number, path in enumerate(uploads)}
    shared.setdefault(output, "output")
    mounts = [_mount("control", _CONTROL), *(_mount(each, path) for path, each in shared.items())]
    pod = _pod(user, settings) | {
        "activeDeadlineSeconds": deadline_seconds,
        "containers": [
            _builder(spec, settings=settings, user=user) | {"volumeMounts": mounts},
            _helper(secret, settings=settings, user=user) | {"volumeMounts": mounts},
        ],
        "volumes": [{"name": each, "emptyDir": {}} for each in ("control", *shared.values())],
    }
    made = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": metadata["name"],
            "labels": metadata["labels"],
            "annotations": _public(metadata["annotations"])
            | {"kubectl.kubernetes.io/default-container": BUILD},
            "ownerReferences": [_owner(secret)],
        },
        "spec": pod,
    }
    return settings.fitted(made)


def _builder(spec: ContainerSpec, *, settings: PodOptions, user: int | None) -> Manifest:
    # The wrapper is the entry point, and what the peer asked for its arguments: "$@", unchanged.
    return {
        "name": BUILD,
        "image": settings.pulled(spec.image),
        "command": ["/bin/sh", "-c", names.env_escape(WRAPPER), "peitho"],
        "args": _escaped([*spec.entrypoint, *spec.command]),
        "env": _pairs(spec.env),
        "resources": requirements(UNLIMITED, requests=settings.requests, limits=settings.limits),
        "securityContext": _security(user),
    }


def _helper(secret: Manifest, *, settings: PodOptions, user: int | None) -> Manifest:
    return {
        "name": HELPER,
        "image": settings.peitho_image,
        "command": ["python", "-m", "peitho.pod.helper"],
        "env": [
            {"name": "PEITHO_URL", "value": settings.peitho_url},
            {"name": "PEITHO_BUILD", "value": secret["metadata"]["annotations"][ID]},
            _token(secret["metadata"]["name"]),
        ],
        "resources": {"requests": {"cpu": "50m", "memory": "32Mi"}},
        "securityContext": _security(user),
    }


def _pod(user: int | None, settings: PodOptions) -> Manifest:
    security: Manifest = {"seccompProfile": {"type": "RuntimeDefault"}}
    if user is not None:
        security |= {"runAsUser": user, "runAsNonRoot": user != 0}
        security |= {"runAsGroup": user, "fsGroup": user}
    else:
        security |= {"runAsNonRoot": True}
    pod: Manifest = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        # A shell as PID 1 does not end at SIGTERM: every second here is one the peer waits.
        "terminationGracePeriodSeconds": 1,
        "securityContext": security,
    }
    if settings.pull_secrets:
        pod["imagePullSecrets"] = [{"name": each} for each in settings.pull_secrets]
    if settings.host_aliases:
        pod["hostAliases"] = [_host_alias(entry) for entry in settings.host_aliases]
    return pod


def _security(user: int | None) -> Manifest:
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": user != 0,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _host_alias(entry: str) -> Manifest:
    address, _, host = entry.rpartition(":")
    return {"ip": address.strip("[]"), "hostnames": [host]}


def _env(image: Image, spec: ContainerSpec) -> list[Manifest]:
    pairs = [f"{key}={value}" for key, value in image.env.items()]
    if image.is_node:
        # Under a user without a home npm fails with EACCES on /.npm.
        pairs.append("npm_config_cache=/tmp/.npm")
    return _pairs([*pairs, *spec.env])


def _pairs(env: Sequence[str]) -> list[Manifest]:
    """`KEY=VALUE` as Kubernetes has it; the last of a key wins, one without `=` is left out."""
    values = {
        key: value for key, separator, value in (each.partition("=") for each in env) if separator
    }
    return [{"name": key, "value": names.env_escape(value)} for key, value in values.items()]


def _escaped(words: Sequence[str]) -> list[str]:
    return [names.env_escape(word) for word in words]


def _token(secret_name: str) -> Manifest:
    reference = {"name": secret_name, "key": TOKEN_KEY}
    return {"name": "PEITHO_TOKEN", "valueFrom": {"secretKeyRef": reference}}


def _mount(volume: str, path: str, part: str = "") -> Manifest:
    mount: Manifest = {"name": volume, "mountPath": path}
    if part:
        mount |= {"subPath": part, "readOnly": True}
    return mount


def _owner(secret: Manifest) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "name": secret["metadata"]["name"],
        "uid": secret["metadata"]["uid"],
    }


def _public(annotations: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in annotations.items() if key.startswith("peitho/")}
