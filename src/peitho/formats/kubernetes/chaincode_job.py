"""
The Job that is a started chaincode container; its Pod is never made a second time.

Its layer either is in the image that the node pulls, or is delivered by Peitho: the puller fetches
it, and it is mounted where the image would have had it.

The puller comes before, as an init container or beside: as the first of the containers, whose
`postStart` the kubelet waits for before it makes the next. That spares the second in which a
kubelet sees that an init container has ended (docs/decisions/0037-puller-beside.md).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from peitho.errors import TemplateRefused
from peitho.formats.images import image_record
from peitho.formats.images.image_record import Image
from peitho.formats.kubernetes import labels as own
from peitho.formats.kubernetes import names, pod_parts, record_secrets
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.kubernetes.pod_options import PodOptions
from peitho.formats.kubernetes.pod_parts import mount
from peitho.formats.kubernetes.resources import requirements
from peitho.formats.records import CHAINCODE, PULLER, ContainerSpec, Record

_VOLUME_PATH = "/layer"
# Where in the volume the layer is once it is whole, and until then a file: what lies below a file
# cannot be mounted, so nothing runs without its layer.
_WHOLE = "whole"
# A FIFO, into which the puller says its word once the layer is whole. Who waits has it open to its
# own end, by which the puller knows that it was heard.
WORD = f"{_VOLUME_PATH}/.word"
# Peitho's image has no shell; without `site`, Python begins in a tenth of the time.
WAIT = ("python", "-I", "-S", "-c")
WAITING = f"""\
import os
try:
    os.mkfifo("{WORD}")
except FileExistsError:
    pass
heard = os.read(os.open("{WORD}", os.O_RDONLY), 1)
raise SystemExit(not heard)
"""
# What a file of a volume can have of a mode, and has where none was noted.
_PERMISSIONS = 0o777
_MODE = 0o444


def manifest(record: Record, image: Image, *, options: PodOptions, reference: str = "") -> Manifest:
    """
    The Job that runs an image for a record.

    `reference` is the image in a registry, its layer included; without one the layer is delivered.
    A prebuilt image is run by its own entry point, which gets the peer's address as a variable.
    Raises TemplateRefused for a template that would change what Peitho relies on.
    """
    labels = dict(record.labels)
    notes = record_secrets.annotations(record) | proof(record, image)
    template = {
        "metadata": {
            "labels": labels,
            "annotations": notes | {"kubectl.kubernetes.io/default-container": CHAINCODE},
        },
        "spec": _pod(record, image, options=options, reference=reference),
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": record.job_name,
            "labels": labels,
            "annotations": notes,
            "ownerReferences": [record_secrets.reference(record).owner()],
        },
        "spec": {
            "backoffLimit": 0,
            "template": _in_order(options.with_templates(template, record.spec.env), options),
        },
    }


def runs_as(image: str, options: PodOptions) -> int | None:
    """
    The user of chaincode on a runtime image, as far as it is known before there is a container.

    A template for all counts, those for some do not.
    """
    given = options.user_for(image)
    made: Manifest = {
        "spec": pod_parts.pod_spec(given, options)
        | {"containers": [{"name": CHAINCODE, "securityContext": {}}]}
    }
    try:
        spec = options.with_templates(made)["spec"]
    except TemplateRefused:  # a launch tells it
        return given
    (main,) = [each for each in spec["containers"] if each["name"] == CHAINCODE]
    for security in (main.get("securityContext"), spec.get("securityContext")):
        if isinstance(number := (security or {}).get("runAsUser"), int):
            return number
    return None


def proof(record: Record, image: Image) -> dict[str, str]:
    """
    What Job and Pod say of what runs, as far as it is known before it does.

    The runtime image is the one that was tried: which one runs, its node tells.
    """
    said = {
        own.EXACT_PACKAGE_ID: own.package_id(record.spec),
        own.LAYER: image.layer,
        own.BUILDER: image.origin.builder,
        own.BUILDER_ID: image.origin.builder_id,
        own.RUNTIME: image.node_image,
        own.RUNTIME_ID: image.prebuilt or image.runtime_id,
    }
    return {key: value for key, value in said.items() if value}


def runtime_id(job: Manifest) -> str:
    """Return which runtime image a Job says that it runs; empty if it does not."""
    return str(job["metadata"]["annotations"].get(own.RUNTIME_ID, ""))


def runtime_patch(runtime_id: str) -> Manifest:
    """The change to a Job that says which runtime image runs."""
    return {"metadata": {"annotations": {own.RUNTIME_ID: runtime_id}}}


def _in_order(template: Manifest, options: PodOptions) -> Manifest:
    """
    A Pod template with the puller beside chaincode, if that is wanted and can be.

    Templates are merged before, so they name it where it was in earlier versions. What a template
    has run after it keeps its place, and so does the puller then.
    """
    spec = template["spec"]
    before = spec.get("initContainers") or []
    if not (options.puller_beside and before and before[-1]["name"] == PULLER):
        return template
    wait = {"exec": {"command": [*WAIT, WAITING]}}
    puller = before[-1] | {"lifecycle": {"postStart": wait}}
    puller["env"] = [*puller["env"], {"name": "PEITHO_WORD", "value": WORD}]
    place = [each["name"] for each in spec["containers"]].index(CHAINCODE)
    beside = [*spec["containers"][:place], puller, *spec["containers"][place:]]
    rest = {key: value for key, value in spec.items() if key != "initContainers"}
    if len(before) > 1:
        rest["initContainers"] = before[:-1]
    return template | {"spec": rest | {"containers": beside}}


@dataclass(frozen=True, slots=True)
class _LayerSource:
    """Where a chaincode's layer comes from: the image to run, and what brings the layer to it."""

    image: str
    init_containers: Sequence[Manifest] = ()
    mounts: Sequence[Manifest] = ()
    volumes: Sequence[Manifest] = ()


def _delivered(
    record: Record, image: Image, *, options: PodOptions, user: int | None
) -> _LayerSource:
    """The runtime image itself; the puller fetches the layer into a volume."""
    parts = image_record.mounts(image)
    return _LayerSource(
        image=options.pulled(image.runtime),
        init_containers=[_puller(record, image, options=options, user=user)],
        # The volume is the Pod's own: chaincode may write there, as in a daemon's container.
        mounts=[
            mount("layer", place, f"{_WHOLE}/{part}", read_only=False)
            for place, part in parts.items()
        ],
        volumes=[{"name": "layer", "emptyDir": {}}],
    )


def _pod(record: Record, image: Image, *, options: PodOptions, reference: str) -> Manifest:
    user = options.user_for(image.node_image)
    if image.prebuilt:
        layer = _LayerSource(options.pulled(image.prebuilt))
    elif reference:
        layer = _LayerSource(reference)
    else:
        layer = _delivered(record, image, options=options, user=user)
    volumes = [*layer.volumes, *_files_volume(record), *_shared_memory_volume(record.spec)]
    pod = pod_parts.pod_spec(user, options) | {
        "hostname": record.id[:12],
        "containers": [_chaincode(record, image, layer, options=options, user=user)],
        "volumes": volumes,
    }
    if layer.init_containers:
        pod["initContainers"] = list(layer.init_containers)
    if image.architecture and not image.prebuilt:  # that is of its own
        pod["nodeSelector"] = {"kubernetes.io/arch": image.architecture}
    return pod


def _chaincode(
    record: Record, image: Image, layer: _LayerSource, *, options: PodOptions, user: int | None
) -> Manifest:
    spec = record.spec
    main: Manifest = {
        "name": CHAINCODE,
        "image": layer.image,
        "imagePullPolicy": pod_parts.PULL_POLICY,
        "env": _env(image, record),
        "resources": requirements(spec.host, requests=options.requests, limits=options.limits),
        "securityContext": pod_parts.container_security(user),
        # The kubelet puts the last lines of the log into the Pod's status, if it fails.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            # What a peer uploads takes the place of what the image has; a path is mounted once.
            *(each for each in layer.mounts if each["mountPath"] not in record.files),
            *(mount("files", path, key) for path, key in record.files.items()),
            *_shared_memory_mount(spec),
        ],
    }
    if image.prebuilt:
        return main
    main["args"] = pod_parts.words(spec.command)
    if spec.entrypoint:
        main["command"] = pod_parts.words(spec.entrypoint)
    if spec.working_directory:
        main["workingDir"] = spec.working_directory
    return main


def _files_volume(record: Record) -> list[Manifest]:
    """
    The files that the peer uploaded, by the keys that they have in the Secret.

    Their modes are those of the upload. Who owns them the kubelet decides: root, and the Pod's
    group, which may read them in any case (pkg/volume/volume_linux.go).
    """
    if not record.files:
        return []  # a Secret without items would be mounted whole, the token included
    items = [
        {"key": key, "path": key, "mode": record.modes.get(path, _MODE) & _PERMISSIONS}
        for path, key in record.files.items()
    ]
    return [{"name": "files", "secret": {"secretName": record.kubernetes_name, "items": items}}]


def _shared_memory_volume(spec: ContainerSpec) -> list[Manifest]:
    if spec.host.shm_bytes <= 0:
        return []
    shared = {"medium": "Memory", "sizeLimit": str(spec.host.shm_bytes)}
    return [{"name": "shm", "emptyDir": shared}]


def _shared_memory_mount(spec: ContainerSpec) -> list[Manifest]:
    if spec.host.shm_bytes <= 0:
        return []
    return [mount("shm", "/dev/shm")]  # noqa: S108  where Docker has it


def _puller(record: Record, image: Image, *, options: PodOptions, user: int | None) -> Manifest:
    return {
        "name": PULLER,
        "image": options.peitho_image,
        "imagePullPolicy": pod_parts.PULL_POLICY,
        "command": ["python", "-m", "peitho.pod.puller"],
        "env": [
            {"name": "PEITHO_URL", "value": options.peitho_url},
            {"name": "PEITHO_BLOB", "value": image.layer},
            {"name": "PEITHO_TARGET", "value": f"{_VOLUME_PATH}/{_WHOLE}"},
            *pod_parts.access_variables(record.kubernetes_name),
        ],
        # Reserved for the Pod's whole life, though the puller lives for a fraction of a second.
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
        "securityContext": pod_parts.container_security(user),
        "volumeMounts": [mount("layer", _VOLUME_PATH)],
    }


def _env(image: Image, record: Record) -> list[Manifest]:
    of_image: Mapping[str, str] = dict(image.env)
    if image.prebuilt:
        # What the peer's command would have told; prebuilt chaincode reads it of its variables.
        of_image = {"CORE_PEER_ADDRESS": record.peer_address}
    elif image.is_node:
        # Under a user without a home npm fails with EACCES on /.npm.
        of_image = {**of_image, "npm_config_cache": "/tmp/.npm"}  # noqa: S108
    # A daemon's container has none of these: without a host, clients of Kubernetes know that they
    # are in no cluster. A template may say otherwise.
    emptied = [f"{name}=" for name in names.VARIABLES_OF_THE_KUBELET]
    own = [f"{key}={value}" for key, value in of_image.items()]
    return pod_parts.variables_of(record, [*emptied, *own, *record.spec.env], record.variables)
