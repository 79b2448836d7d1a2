"""The Pod of a build: the builder image with the peer's command, and the helper beside it."""

from collections.abc import Sequence

from peitho.formats.kubernetes import names, pod_parts, record_secrets
from peitho.formats.kubernetes.build_wrapper import CONTROL, WRAPPER, helper_path
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.kubernetes.pod_options import PodOptions
from peitho.formats.kubernetes.pod_parts import mount
from peitho.formats.kubernetes.resources import requirements
from peitho.formats.records import BUILD, UNLIMITED, ContainerSpec, RecordMetadata

HELPER = "helper"


def manifest(  # noqa: PLR0913  a build is these six things
    record: RecordMetadata,
    spec: ContainerSpec,
    *,
    options: PodOptions,
    uploads: Sequence[str],
    output: str,
    deadline_seconds: int,
) -> Manifest:
    """
    The Pod of a build.

    `uploads` are the directories the peer uploaded to, `output` the one it will download.  The
    helper has them at a place of its own, where none of them can cover what it runs on.
    """
    user = options.user_for(spec.image)
    volumes = {path: f"upload-{number}" for number, path in enumerate(uploads)}
    volumes.setdefault(output, "output")
    control = mount("control", CONTROL)
    mounts = [control, *(mount(name, path) for path, name in volumes.items())]
    helpers = [control, *(mount(name, helper_path(path)) for path, name in volumes.items())]
    pod = pod_parts.pod_spec(user, options) | {
        "activeDeadlineSeconds": deadline_seconds,
        "containers": [
            _builder(record, spec, options=options, user=user) | {"volumeMounts": mounts},
            _helper(record, options=options, user=user) | {"volumeMounts": helpers},
        ],
        "volumes": [{"name": name, "emptyDir": {}} for name in ("control", *volumes.values())],
    }
    made = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": record.kubernetes_name,
            "labels": dict(record.labels),
            "annotations": record_secrets.annotations(record)
            | {"kubectl.kubernetes.io/default-container": BUILD},
            "ownerReferences": [record_secrets.reference(record).owner()],
        },
        "spec": pod,
    }
    return options.with_templates(made)


def _builder(
    record: RecordMetadata, spec: ContainerSpec, *, options: PodOptions, user: int | None
) -> Manifest:
    # The wrapper is the entry point, and what the peer asked for its arguments: "$@", unchanged.
    return {
        "name": BUILD,
        "image": options.pulled(spec.image),
        "imagePullPolicy": pod_parts.PULL_POLICY,
        "command": ["/bin/sh", "-c", names.env_escape(WRAPPER), "peitho"],
        "args": pod_parts.words([*spec.entrypoint, *spec.command]),
        "env": pod_parts.variables_of(record, spec.env, record_secrets.variable_keys(spec.env)),
        "resources": requirements(UNLIMITED, requests=options.requests, limits=options.limits),
        "securityContext": pod_parts.container_security(user),
    }


def _helper(record: RecordMetadata, *, options: PodOptions, user: int | None) -> Manifest:
    return {
        "name": HELPER,
        "image": options.peitho_image,
        "imagePullPolicy": pod_parts.PULL_POLICY,
        "command": ["python", "-m", "peitho.pod.helper"],
        "env": [
            {"name": "PEITHO_URL", "value": options.peitho_url},
            {"name": "PEITHO_BUILD", "value": record.id},
            *pod_parts.access_variables(record.kubernetes_name),
        ],
        "resources": {"requests": {"cpu": "50m", "memory": "32Mi"}},
        "securityContext": pod_parts.container_security(user),
    }
