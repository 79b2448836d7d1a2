"""
A check of the operator's Pod templates: would the cluster admit Pods made with them?

It is made before peers are served, and before changed settings are followed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import structlog

from peitho.clients import retries
from peitho.clients.kubernetes.api import Kubernetes, KubernetesError
from peitho.core.clock import now
from peitho.errors import TemplateRefused, Unavailable
from peitho.formats.images.image_record import Image
from peitho.formats.kubernetes import build_pod, chaincode_job, labels
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.kubernetes.pod_options import PodOptions
from peitho.formats.records import BUILD, CHAINCODE, ContainerSpec, Record

log = structlog.get_logger()

_NAME = "peitho-template"
_ID = "0" * 64
_IMAGE = Image(
    name=_NAME,
    runtime="docker.io/hyperledger/fabric-baseos:2.5",
    layer=f"sha256:{'0' * 64}",
    layer_bytes=0,
    directory="/usr/local/bin",
    entries=("chaincode",),
    labels={},
    env={},
    architecture="",
    created="",
)


@dataclass(frozen=True, slots=True)
class TemplateCheck:
    """A template to check: its key in the settings, and how to make a Pod with it."""

    key: str
    make: Callable[[PodOptions], Manifest]
    options: PodOptions

    def pod(self) -> Manifest:
        """
        Return the Pod with the template.

        Raises TemplateRefused if the template changes what Peitho relies on.
        """
        return self.make(self.options)

    def plain(self) -> Manifest:
        """Return the Pod without the template."""
        return self.make(replace(self.options, template={}, overrides=()))


def template_checks(*, builder: PodOptions, chaincode: PodOptions) -> list[TemplateCheck]:
    """Return all checks: each template by itself, each override over the template for all."""
    checks = []
    if builder.template:
        checks.append(TemplateCheck("builder.template", _build, builder))
    if chaincode.template:
        checks.append(
            TemplateCheck("chaincode.template", _chaincode, replace(chaincode, overrides=()))
        )
    for number, override in enumerate(chaincode.overrides):
        everyone = replace(override, msp_id="*", label="*")
        alone = replace(chaincode, overrides=(everyone,))
        checks.append(TemplateCheck(f"chaincode.overrides.{number}.template", _chaincode, alone))
    return checks


def plain_pods(*, builder: PodOptions, chaincode: PodOptions) -> dict[str, Manifest]:
    """Return a Pod of each kind without any template, by what it is for."""
    return {
        "builds": TemplateCheck("", _build, builder).plain(),
        "chaincode": TemplateCheck("", _chaincode, chaincode).plain(),
    }


async def check(kubernetes: Kubernetes, checks: Sequence[TemplateCheck]) -> None:
    """
    Ask the API server, as a dry run, whether it would admit each Pod.

    Raises TemplateRefused with a line for each key, Unavailable.
    """
    problems = [problem for one in checks if (problem := await _problem(kubernetes, one))]
    if problems:
        raise TemplateRefused("\n".join(problems))


async def _problem(kubernetes: Kubernetes, trial: TemplateCheck) -> str:
    try:
        await kubernetes.create(trial.pod(), dry_run=True)
    except TemplateRefused as error:
        return f"{trial.key}: {error}"
    except KubernetesError as error:
        if retries.is_passing(error):
            raise Unavailable(f"The Kubernetes API cannot say: {error}") from error
        if cause := await _refusal(kubernetes, trial.plain()):
            # Not the template's fault: the quota is used up, or the namespace admits no such Pod.
            log.warning("template not checked", key=trial.key, cause=cause)
            return ""
        return f"{trial.key}: {error}"
    return ""


async def _refusal(kubernetes: Kubernetes, pod: Manifest) -> str:
    try:
        await kubernetes.create(pod, dry_run=True)
    except KubernetesError as error:
        return str(error)
    return ""


def _build(options: PodOptions) -> Manifest:
    spec = ContainerSpec("docker.io/hyperledger/fabric-ccenv:2.5", ("/bin/sh",), (), ())
    return _alone(
        build_pod.manifest(
            _record(BUILD, spec, options),
            spec,
            options=options,
            uploads=("/chaincode/input",),
            output="/chaincode/output",
            deadline_seconds=1,
        )
    )


def _chaincode(options: PodOptions) -> Manifest:
    spec = ContainerSpec(_NAME, ("chaincode",), (), ())
    job = chaincode_job.manifest(_record(CHAINCODE, spec, options), _IMAGE, options=options)
    return _alone({"apiVersion": "v1", "kind": "Pod", **job["spec"]["template"]})


def _record(kind: str, spec: ContainerSpec, options: PodOptions) -> Record:
    """Return a record that is in no cluster."""
    return Record(
        kind=kind,
        id=_ID,
        name=_NAME,
        kubernetes_name=_NAME,
        uid="",
        resource_version="",
        labels=labels.container_labels(options.instance, kind, _ID),
        image=spec.image,
        command=" ".join(spec.command),
        created=now(),
        peer_address="",
        exit=None,
        spec=spec,
        files={},
    )


def _alone(pod: Manifest) -> Manifest:
    """Return the Pod with a name of its own and without owner."""
    kept = {key: value for key, value in pod["metadata"].items() if key != "ownerReferences"}
    return pod | {"metadata": kept | {"name": _NAME}}
