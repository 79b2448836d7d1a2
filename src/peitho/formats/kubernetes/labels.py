"""Labels and annotations by which Peitho knows its own objects, and people find them."""

from collections.abc import Mapping

from peitho.formats.kubernetes import names
from peitho.formats.records import ContainerSpec

INSTANCE = "peitho/instance"
CONTAINER = "peitho/container"
KIND = "peitho/kind"
OWNER = "peitho/owner"
ID = "peitho/id"
NAME = "peitho/name"
IMAGE = "peitho/image"
COMMAND = "peitho/command"
CREATED = "peitho/created"
EXIT = "peitho/exit"
PEER = "peitho/peer-address"
ASKED_LABELS = "peitho/labels"
PACKAGE_ID = "peitho/chaincode"
MSP_ID = "peitho/msp-id"
CONTAINER_NAME = "peitho/container-name"

# What a chaincode's Job and Pod say of what runs; IDs are as the node says them, with a digest.
EXACT_PACKAGE_ID = "peitho/package-id"
LAYER = "peitho/layer"
BUILDER = "peitho/builder"
BUILDER_ID = "peitho/builder-id"
RUNTIME = "peitho/runtime"
RUNTIME_ID = "peitho/runtime-id"
PROOF = (EXACT_PACKAGE_ID, LAYER, BUILDER, BUILDER_ID, RUNTIME, RUNTIME_ID)

# A label's value holds 63 characters, a container's ID has 64.
_LABEL_CHARACTERS = 32


# By these an earlier Peitho knew its objects. Argo CD 2 takes what has the latter for its own, and
# removes what is in none of its charts (gitops-engine, pkg/cache: GetManagedLiveObjs).
_FORMER_MANAGER = "app.kubernetes.io/managed-by"
_FORMER_INSTANCE = "app.kubernetes.io/instance"


def own_labels(instance: str) -> dict[str, str]:
    """The labels of every object of this Peitho, and of no other object."""
    return {INSTANCE: instance}


def former_labels(instance: str) -> dict[str, str]:
    """The labels that an earlier Peitho gave every object in place of these."""
    return {_FORMER_MANAGER: "peitho", _FORMER_INSTANCE: instance}


def renewed(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels of an object as this Peitho would have given them."""
    instance = labels.get(_FORMER_INSTANCE, "")
    former = former_labels(instance)
    if INSTANCE in labels or not former.items() <= labels.items():
        return dict(labels)
    return {key: labels[key] for key in labels if key not in former} | own_labels(instance)


def renewal(instance: str) -> dict[str, str | None]:
    """The change of an object's labels that renews them."""
    return dict.fromkeys(former_labels(instance)) | own_labels(instance)


def of_any_instance(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels by which objects with former labels are listed too, and those of others."""
    return {key: value for key, value in labels.items() if key != INSTANCE}


def are_own(labels: Mapping[str, str], instance: str) -> bool:
    """Whether an object with these labels is of this Peitho, and not of another beside it."""
    return own_labels(instance).items() <= renewed(labels).items()


def kind_labels(instance: str, kind: str) -> dict[str, str]:
    """The labels of every object of this Peitho that is of one kind."""
    return own_labels(instance) | {KIND: kind}


def container_labels(instance: str, kind: str, container_id: str) -> dict[str, str]:
    """The labels of every object of one container."""
    return kind_labels(instance, kind) | {CONTAINER: container_label(container_id)}


def container_label(container_id: str) -> str:
    """The value of the label by which a container's Pod and Job are found."""
    return container_id[:_LABEL_CHARACTERS]


def chaincode_labels(spec: ContainerSpec, name: str) -> dict[str, str]:
    """The labels by which an operator finds a chaincode: package ID, MSP ID and Docker name."""
    env = dict(variable.partition("=")[::2] for variable in spec.env)
    values = {
        PACKAGE_ID: package_id(spec),
        MSP_ID: env.get("CORE_PEER_LOCALMSPID", ""),
        CONTAINER_NAME: name,
    }
    return {key: names.label_value(value) for key, value in values.items() if value}


def package_id(spec: ContainerSpec) -> str:
    """Return the ID of the package that a container runs; empty if its peer does not say it."""
    env = dict(variable.partition("=")[::2] for variable in spec.env)
    return env.get("CORE_CHAINCODE_ID_NAME", "")
