"""
Jobs of trials: do nodes have a runtime image, or can pull it; and what does a Pod reach?

A trial comes to where chaincode would come, as its template says, with the same account and pull
Secrets. The cluster ends it and removes it, also if Peitho is gone by then.
"""

import hashlib
from collections.abc import Sequence

from peitho.formats.images.image_record import Image
from peitho.formats.kubernetes import labels, pod_parts
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.kubernetes.pod_options import PodOptions
from peitho.formats.kubernetes.resources import requirements
from peitho.formats.records import CHAINCODE, UNLIMITED

TRIAL = "trial"
DEADLINE_SECONDS = 120

_KEPT_SECONDS = 60
# What a template may say of the container that has to do with its image and its place; what it
# mounts and checks is of chaincode alone.
_OF_CONTAINER = (
    "name",
    "image",
    "imagePullPolicy",
    "command",
    "resources",
    "securityContext",
)
_LEFT_OUT = ("initContainers", "volumes", "ephemeralContainers", "containers")


def manifest(image: Image, trial_id: str, *, options: PodOptions) -> Manifest:
    """
    The Job that tries the runtime image of a chaincode image.

    Raises TemplateRefused for a template that would change what Peitho relies on.
    """
    user = options.user_for(image.node_image)
    # Whether or not the image has it: that the node begins it is the answer.
    main = _container(options.pulled(image.node_image), ["true"], options=options, user=user)
    pod = pod_parts.pod_spec(user, options) | {"containers": [main]}
    if image.architecture and not image.prebuilt:  # that is of its own
        pod["nodeSelector"] = {"kubernetes.io/arch": image.architecture}
    return _job(pod, image.node_image, trial_id, options=options)


def reaching(addresses: Sequence[str], trial_id: str, *, options: PodOptions) -> Manifest:
    """
    The Job that tries what a Pod of chaincode reaches: Peitho's own image, with `peitho.pod.reach`.

    Raises TemplateRefused, as above.
    """
    command = ["python", "-m", "peitho.pod.reach", *pod_parts.words(addresses)]
    main = _container(options.peitho_image, command, options=options, user=options.user)
    pod = pod_parts.pod_spec(options.user, options) | {"containers": [main]}
    return _job(pod, options.peitho_image, trial_id, options=options)


def _container(
    image: str, command: list[str], *, options: PodOptions, user: int | None
) -> Manifest:
    return {
        "name": CHAINCODE,
        "image": image,
        "imagePullPolicy": pod_parts.PULL_POLICY,
        "command": command,
        "resources": requirements(UNLIMITED, requests=options.requests, limits=options.limits),
        "securityContext": pod_parts.container_security(user),
    }


def _job(pod: Manifest, image: str, trial_id: str, *, options: PodOptions) -> Manifest:
    own = labels.container_labels(options.instance, TRIAL, trial_id)
    about = {"peitho/trial-of": image}
    template = options.with_templates(
        {"metadata": {"labels": own, "annotations": about}, "spec": pod}
    )
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": _name(options.instance, trial_id), "labels": own},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": DEADLINE_SECONDS,
            "ttlSecondsAfterFinished": _KEPT_SECONDS,
            "template": template | {"spec": _alone(template["spec"])},
        },
    }


def _alone(spec: Manifest) -> Manifest:
    """A Pod's spec with one container, and what that needs to have its image."""
    (main,) = [each for each in spec["containers"] if each["name"] == CHAINCODE]
    kept = {key: value for key, value in spec.items() if key not in _LEFT_OUT}
    return kept | {"containers": [{key: main[key] for key in _OF_CONTAINER if key in main}]}


def _name(instance: str, trial_id: str) -> str:
    digest = hashlib.sha256(f"{instance} {trial_id}".encode()).hexdigest()
    return f"trial-{digest[:16]}"
