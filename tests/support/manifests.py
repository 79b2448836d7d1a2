"""Records, Jobs and Pods of builds as Peitho makes them."""

import base64

from peitho.formats.images.image_record import Image
from peitho.formats.kubernetes import build_pod, chaincode_job, record_secrets
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.kubernetes.pod_options import PodOptions
from peitho.formats.records import ContainerSpec, HostConfig
from tests.support import typed
from tests.support.expansion import expand

ID = "0123456789abcdef" * 4
TOKEN = "the-token-of-the-layer"  # noqa: S105
KEY = "/etc/hyperledger/fabric/client.key"
CRT = "/etc/hyperledger/fabric/client.crt"
SPEC = ContainerSpec(
    image="net-mycc",
    command=("chaincode", "-peer.address=172.17.0.1:7052"),
    entrypoint=(),
    env=(
        "CORE_CHAINCODE_ID_NAME=mycc_1:" + "ab" * 32,
        "CORE_CHAINCODE_LOGGING_FORMAT=%{color}$(HOME) $$ $",
        "CORE_PEER_LOCALMSPID=Org1MSP",
    ),
    host=HostConfig(memory_bytes=2**31),
)
SETTINGS = PodOptions(
    instance="peitho",
    peitho_image="peitho:1",
    peitho_url="https://peitho:8081",
    user=500,
    users={"*javaenv*": 0, "*openshift*": None},
    requests={},
    limits={},
)
IMAGE = Image(
    name="net-mycc",
    runtime="hyperledger/fabric-baseos:2.5",
    layer="sha256:" + "ab" * 32,
    layer_bytes=1,
    directory="/usr/local/bin",
    entries=("chaincode",),
    labels={},
    env={"CORE_CHAINCODE_BUILDLEVEL": "2.5.16"},
    architecture="arm64",
    created="",
)
BUILD_TOKEN = "the-token-of-the-build"  # noqa: S105
SCRIPT = "\nset -e\nGOPATH=/chaincode/input:$GOPATH go build $(flags) $$ -o /chaincode/output/cc\n"
BUILD = ContainerSpec(
    image="hyperledger/fabric-ccenv:2.5",
    command=("/bin/sh", "-c", SCRIPT),
    entrypoint=(),
    env=("GOPROXY=https://goproxy.example/$x",),
)


def record(spec: ContainerSpec = SPEC) -> Manifest:
    """The Secret of a created container, as the API server gives it back."""
    secret = record_secrets.chaincode_secret(
        instance="peitho",
        container_id=ID,
        name="dev-peer0.org1-mycc-1.0",
        spec=spec,
        token=TOKEN,
        created="2026-01-02T03:04:05Z",
    )
    secret["metadata"] |= {"uid": "u-1", "resourceVersion": "7"}
    return secret


def with_files(
    secret: Manifest, files: dict[str, bytes], modes: dict[str, int] | None = None
) -> Manifest:
    """The same Secret after an upload."""
    patch = record_secrets.files_patch(typed.record(secret), files, modes)
    return secret | {"data": secret["data"] | patch["data"]}


def job(secret: Manifest, image: Image = IMAGE, settings: PodOptions = SETTINGS) -> Manifest:
    """The Job of a started container."""
    return chaincode_job.manifest(typed.record(secret), image, options=settings)


def pod_of(made: Manifest) -> Manifest:
    """The Pod's spec in a Job."""
    spec: Manifest = made["spec"]["template"]["spec"]
    return spec


def build(
    spec: ContainerSpec = BUILD,
    settings: PodOptions = SETTINGS,
    uploads: tuple[str, ...] = ("/chaincode/input",),
) -> Manifest:
    """The Pod of a build."""
    return build_pod.manifest(
        typed.metadata(build_secret(spec)),
        spec,
        options=settings,
        uploads=uploads,
        output="/chaincode/output",
        deadline_seconds=900,
    )


def containers(made: Manifest) -> dict[str, Manifest]:
    """The containers of a Pod by name."""
    return {each["name"]: each for each in made["spec"]["containers"]}


def variables(container: Manifest, secret: Manifest) -> dict[str, str]:
    """What the process sees of a container's variables, those of a Secret too."""
    return {
        each["name"]: base64.b64decode(
            secret["data"][each["valueFrom"]["secretKeyRef"]["key"]]
        ).decode()
        if "valueFrom" in each
        else expand(each["value"], {"HOME": "expanded"})
        for each in container["env"]
    }


def build_secret(spec: ContainerSpec = BUILD) -> Manifest:
    """The Secret of a build, as the API server gives it back."""
    secret = record_secrets.build_secret(
        instance="peitho",
        owner="",
        container_id=ID,
        spec=spec,
        token=BUILD_TOKEN,
        created="2026-01-02T03:04:05Z",
    )
    secret["metadata"]["uid"] = "u-2"
    return secret


def mounts(container: Manifest) -> dict[str, str]:
    """Where a container sees which volume."""
    return {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
