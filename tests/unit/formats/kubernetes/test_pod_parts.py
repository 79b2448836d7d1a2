import dataclasses

import pytest

from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.kubernetes.templates import TemplateOverride
from peitho.formats.records import HostConfig
from tests.support.manifests import BUILD, SETTINGS, SPEC, build, containers, job, pod_of, record
from tests.support.restricted import violations


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


def test_pods_pull_with_the_registrys_secret() -> None:
    """
    Builds as well, whose images may be there too; without one, there is none.
    """
    settings = dataclasses.replace(SETTINGS, pull_secrets=("peitho-registry",))

    for pod in (pod_of(job(record(), settings=settings)), build(settings=settings)["spec"]):
        assert [{"name": "peitho-registry"}] == pod["imagePullSecrets"]
    assert "imagePullSecrets" not in build()["spec"]
