import dataclasses
import json
from typing import Any

import pytest

from peitho.formats.kubernetes import manifests, records
from peitho.formats.kubernetes.build_wrapper import WRAPPER
from peitho.formats.kubernetes.manifests import PodOptions
from peitho.formats.kubernetes.records import ContainerSpec
from peitho.formats.kubernetes.resources import HostConfig
from peitho.formats.kubernetes.templates import TemplateOverride
from tests.support.expansion import expand
from tests.support.restricted import violations
from tests.unit.formats.kubernetes.test_manifests import IMAGE, SETTINGS, job, pod_of
from tests.unit.formats.kubernetes.test_records import ID, SPEC, record, with_files

Manifest = dict[str, Any]

SCRIPT = "\nset -e\nGOPATH=/chaincode/input:$GOPATH go build $(flags) $$ -o /chaincode/output/cc\n"
BUILD = ContainerSpec(
    image="hyperledger/fabric-ccenv:2.5",
    command=("/bin/sh", "-c", SCRIPT),
    entrypoint=(),
    env=("GOPROXY=https://goproxy.example/$x",),
)
TOKEN = "the-token-of-the-build"  # noqa: S105


def build(
    spec: ContainerSpec = BUILD,
    settings: PodOptions = SETTINGS,
    uploads: tuple[str, ...] = ("/chaincode/input",),
) -> Manifest:
    """The Pod of a build."""
    secret = records.build_record(
        instance="peitho", container_id=ID, spec=spec, token=TOKEN, created="now"
    )
    secret["metadata"]["uid"] = "u-2"
    return manifests.build_pod(
        secret,
        spec,
        settings=settings,
        uploads=uploads,
        output="/chaincode/output",
        deadline_seconds=900,
    )


def containers(made: Manifest) -> dict[str, Manifest]:
    """The containers of a Pod by name."""
    return {each["name"]: each for each in made["spec"]["containers"]}


def mounts(container: Manifest) -> dict[str, str]:
    """Where a container sees which volume."""
    return {each["mountPath"]: each["name"] for each in container["volumeMounts"]}


class TestPodSecurity:
    @pytest.mark.parametrize("user", [500, 1000, None])
    def test_chaincode_and_builds_satisfy_restricted(self, user: int | None) -> None:
        """
        Whatever the numeric user is, or if the cluster gives its own.
        """
        settings = dataclasses.replace(SETTINGS, user=user)

        assert [] == violations(pod_of(job(record(), settings=settings)))
        assert [] == violations(build(settings=settings)["spec"])

    def test_the_checker_finds_what_restricted_forbids(self) -> None:
        """
        The test above could fail.
        """
        spec: Manifest = {
            "hostNetwork": True,
            "volumes": [{"name": "v", "hostPath": {}}],
            "containers": [{"name": "c", "securityContext": {"runAsUser": 0}}],
        }

        assert 7 == len(violations(spec))

    def test_no_pod_gets_a_token_of_the_cluster(self) -> None:
        """
        Nor the addresses of the namespace's Services in its variables.
        """
        for spec in (pod_of(job(record())), build()["spec"]):
            assert spec["automountServiceAccountToken"] is False
            assert spec["enableServiceLinks"] is False

    @pytest.mark.parametrize(
        ("image", "expected"),
        [
            ("hyperledger/fabric-ccenv:2.5", 500),
            ("hyperledger/fabric-javaenv:2.5", 0),
            ("openshift/ccenv", None),
        ],
    )
    def test_the_user_is_a_setting_by_image(self, image: str, expected: int | None) -> None:
        """
        Java needs root, OpenShift gives its own, all others have the default.
        """
        assert expected == SETTINGS.user_for(image)

    def test_a_numeric_user_owns_the_volumes(self) -> None:
        """
        Without one, both are the cluster's to give.
        """
        given = build()["spec"]["securityContext"]
        left = build(settings=dataclasses.replace(SETTINGS, user=None))["spec"]["securityContext"]

        assert (500, 500, 500) == (given["runAsUser"], given["runAsGroup"], given["fsGroup"])
        assert {"runAsNonRoot", "seccompProfile"} == set(left)

    def test_root_where_it_is_set_still_has_no_capability(self) -> None:
        """
        A javaenv as root is refused by `restricted` for its user, and for nothing else.
        """
        made = build(dataclasses.replace(BUILD, image="hyperledger/fabric-javaenv:2.5"))

        assert {"build: runAsNonRoot", "build: runAsUser 0"} == {
            each for each in violations(made["spec"]) if each.startswith("build")
        }


class TestResources:
    def test_the_peers_memory_is_the_limit_and_not_the_request(self) -> None:
        """
        Few nodes have 2 GiB for each chaincode.
        """
        (main,) = pod_of(job(record()))["containers"]

        assert {
            "limits": {"memory": str(2**31)},
            "requests": {"memory": "64Mi"},
        } == main["resources"]

    def test_the_operators_resources_win_over_the_peers(self) -> None:
        """
        What is set is used, what is not comes from the peer.
        """
        settings = dataclasses.replace(
            SETTINGS,
            requests={"cpu": "100m", "memory": "128Mi"},
            limits={"memory": "512Mi"},
        )

        (main,) = pod_of(job(record(), settings=settings))["containers"]

        assert {
            "requests": {"cpu": "100m", "memory": "128Mi"},
            "limits": {"memory": "512Mi"},
        } == main["resources"]
        assert {"cpu": "100m", "memory": "128Mi"} == containers(build(settings=settings))["build"][
            "resources"
        ]["requests"]

    def test_no_limit_of_the_peers_is_none_of_ours(self) -> None:
        """
        Docker's `Memory: 0` is "no limit".
        """
        spec = dataclasses.replace(SPEC, host=HostConfig())

        assert {} == pod_of(job(record(spec)))["containers"][0]["resources"]


def test_host_aliases_are_in_chaincodes_hosts_file() -> None:
    """
    IPv4 and IPv6, as `k8s.dns` has them.
    """
    settings = dataclasses.replace(SETTINGS, host_aliases=["10.0.0.1:peer0", "[fd00::1]:peer1"])

    assert [
        {"ip": "10.0.0.1", "hostnames": ["peer0"]},
        {"ip": "fd00::1", "hostnames": ["peer1"]},
    ] == pod_of(job(record(), settings=settings))["hostAliases"]
    assert "hostAliases" not in pod_of(job(record()))


class TestBuilds:
    def test_the_peers_command_is_run_unchanged(self) -> None:
        """
        Behind the wrapper, with every `$` as it was.
        """
        builder = containers(build())["build"]

        args = [expand(word, {"flags": "expanded"}) for word in builder["args"]]
        assert list(BUILD.command) == args
        assert WRAPPER == expand(builder["command"][2], {"HOME": "x"})
        assert ["/bin/sh", "-c"] == builder["command"][:2]
        assert [{"name": "GOPROXY", "value": "https://goproxy.example/$$x"}] == builder["env"]

    def test_an_entrypoint_is_the_beginning_of_the_command(self) -> None:
        """
        As Docker puts the two together.
        """
        spec = dataclasses.replace(BUILD, entrypoint=("/e",), command=("a", "b"))

        assert ["/e", "a", "b"] == containers(build(spec))["build"]["args"]

    def test_builder_and_helper_share_their_directories(self) -> None:
        """
        The control directory, each upload's, and the output's; all go with the Pod.
        """
        made = build(uploads=("/chaincode/input", "/more"))
        builder, helper = containers(made)["build"], containers(made)["helper"]

        assert mounts(builder) == mounts(helper)
        assert {"/peitho", "/chaincode/input", "/more", "/chaincode/output"} == set(mounts(builder))
        assert 4 == len(set(mounts(builder).values()))
        assert {(name, "emptyDir") for name in mounts(builder).values()} == {
            (volume.pop("name"), *volume) for volume in made["spec"]["volumes"]
        }

    def test_an_upload_into_the_output_is_one_volume(self) -> None:
        """
        A path is mounted once.
        """
        made = build(uploads=("/chaincode/output",))

        assert {"/peitho", "/chaincode/output"} == set(mounts(containers(made)["build"]))
        assert 2 == len(made["spec"]["volumes"])

    def test_the_probe_uploads_nothing(self) -> None:
        """
        `go version` has the output directory alone.
        """
        made = build(uploads=())

        assert {"/peitho", "/chaincode/output"} == set(mounts(containers(made)["helper"]))

    def test_a_builds_token_is_in_its_secret_alone(self) -> None:
        """
        The helper is given a reference to it; the builder nothing at all.
        """
        made = build()

        assert TOKEN not in json.dumps(made)
        assert "PEITHO" not in json.dumps(containers(made)["build"])
        assert {
            "name": "PEITHO_TOKEN",
            "valueFrom": {"secretKeyRef": {"name": made["metadata"]["name"], "key": "token"}},
        } in containers(made)["helper"]["env"]

    def test_a_build_ends_at_its_deadline_and_goes_with_its_secret(self) -> None:
        """
        The cluster sees to both.
        """
        made = build()

        assert 900 == made["spec"]["activeDeadlineSeconds"]
        assert "u-2" == made["metadata"]["ownerReferences"][0]["uid"]
        assert f"build-{ID[:12]}" == made["metadata"]["name"] == records.build_name(ID)
        assert "build" == made["metadata"]["labels"]["peitho/kind"]
        assert IMAGE.runtime not in json.dumps(made)


def test_nodes_pull_what_the_operator_put_in_an_images_place() -> None:
    """
    In builds and for chaincode; Peitho's own image is named by its own setting.
    """
    table = {"hyperledger/*": "m.io/*", "peitho": "m.io/other"}
    settings = dataclasses.replace(SETTINGS, rewrite=table)

    chaincode = pod_of(job(record(), settings=settings))
    made = containers(build(settings=settings))

    assert "m.io/fabric-baseos:2.5" == chaincode["containers"][0]["image"]
    assert "peitho:1" == chaincode["initContainers"][0]["image"]
    assert ("m.io/fabric-ccenv:2.5", "peitho:1") == (
        made["build"]["image"],
        made["helper"]["image"],
    )


def test_the_peers_shared_memory_is_a_volume_in_memory() -> None:
    """
    Where Docker has it, and as large; without it, the runtime's own is left.
    """
    spec = dataclasses.replace(SPEC, host=HostConfig(shm_bytes=2**27))

    pod = pod_of(job(record(spec)))

    assert {"name": "shm", "mountPath": "/dev/shm"} in pod["containers"][0]["volumeMounts"]
    assert {
        "name": "shm",
        "emptyDir": {"medium": "Memory", "sizeLimit": str(2**27)},
    } in pod["volumes"]
    assert [] == violations(pod)
    assert "shm" not in json.dumps(pod_of(job(record())))


def test_templates_are_in_the_pods_of_those_they_are_for() -> None:
    """
    In a Job's template, not in the Job's own metadata; overrides by what the peer says.
    """
    template = {"metadata": {"labels": {"team": "a"}}}
    mine, others = (
        TemplateOverride("Org1MSP", "mycc*", {"spec": {"priorityClassName": "mine"}}),
        TemplateOverride("Org2MSP", "*", {"spec": {"priorityClassName": "others"}}),
    )
    settings = dataclasses.replace(SETTINGS, template=template, overrides=(mine, others))

    made = job(record(), settings=settings)

    assert "a" == made["spec"]["template"]["metadata"]["labels"]["team"]
    assert "team" not in made["metadata"]["labels"]
    assert "mine" == pod_of(made)["priorityClassName"]
    assert "a" == build(settings=settings)["metadata"]["labels"]["team"]
    assert "priorityClassName" not in build(settings=settings)["spec"]


WHOLE = f"x.io/chaincode/mycc@sha256:{'0a' * 32}"


def test_an_image_of_a_registry_runs_by_itself() -> None:
    """
    By its digest; nothing is fetched, and nothing mounted over what is in it.
    """
    secret = with_files(record(), {"/etc/hyperledger/fabric/client.key": b"key"})
    pod = pod_of(manifests.chaincode_job(secret, IMAGE, settings=SETTINGS, reference=WHOLE))

    (main,) = pod["containers"]
    assert WHOLE == main["image"]
    assert "initContainers" not in pod
    assert ["files"] == [each["name"] for each in pod["volumes"]]
    assert {"/etc/hyperledger/fabric/client.key": "files"} == mounts(main)
    assert [] == violations(pod)

    bare = pod_of(manifests.chaincode_job(record(), IMAGE, settings=SETTINGS, reference=WHOLE))
    assert [] == bare["volumes"] == bare["containers"][0]["volumeMounts"]


def test_pods_pull_with_the_registrys_secret() -> None:
    """
    Builds as well, whose images may be there too; without one, there is none.
    """
    settings = dataclasses.replace(SETTINGS, pull_secrets=("peitho-registry",))

    for pod in (pod_of(job(record(), settings=settings)), build(settings=settings)["spec"]):
        assert [{"name": "peitho-registry"}] == pod["imagePullSecrets"]
    assert "imagePullSecrets" not in build()["spec"]
