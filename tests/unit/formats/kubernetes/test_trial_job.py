import dataclasses
import json

import pytest

from peitho.errors import TemplateRefused
from peitho.formats.kubernetes import labels, trial_job
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.kubernetes.pod_options import PodOptions
from tests.support.manifests import BUILD, IMAGE, SETTINGS, build, job, pod_of, record
from tests.support.restricted import violations

ID = "ab" * 32
TEMPLATE: Manifest = {
    "metadata": {"annotations": {"note": "mine"}},
    "spec": {
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"operator": "Exists"}],
        "serviceAccountName": "puller",
        "imagePullSecrets": [{"name": "harbor"}],
        "volumes": [{"name": "ca", "configMap": {"name": "ca"}}],
        "initContainers": [{"name": "proxy", "image": "p:1", "restartPolicy": "Always"}],
        "containers": [
            {
                "name": "chaincode",
                "imagePullPolicy": "Always",
                "volumeMounts": [{"name": "ca", "mountPath": "/ca"}],
                "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
                "startupProbe": {"exec": {"command": ["x"]}},
            },
            {"name": "beside", "image": "b:1"},
        ],
    },
}


def made(settings: PodOptions = SETTINGS) -> Manifest:
    """The Job that tries an image's runtime."""
    return trial_job.manifest(IMAGE, ID, options=settings)


def test_it_comes_to_where_chaincode_would_come() -> None:
    """
    With what the template says of nodes, account and pull Secrets, and with the architecture.
    """
    pod = pod_of(made(dataclasses.replace(SETTINGS, template=TEMPLATE, pull_secrets=("own",))))

    assert {"disk": "ssd", "kubernetes.io/arch": "arm64"} == pod["nodeSelector"]
    assert "puller" == pod["serviceAccountName"]
    assert ["harbor", "own"] == sorted(each["name"] for each in pod["imagePullSecrets"])
    assert [{"operator": "Exists"}] == pod["tolerations"]


def test_it_needs_nothing_but_the_image() -> None:
    """
    What a template mounts or puts beside chaincode may not be there yet.
    """
    pod = pod_of(made(dataclasses.replace(SETTINGS, template=TEMPLATE)))

    assert not {"volumes", "initContainers"} & pod.keys()
    (main,) = pod["containers"]
    assert "Always" == main["imagePullPolicy"]
    assert {"name", "image", "imagePullPolicy", "command", "resources", "securityContext"} >= (
        main.keys()
    )
    assert "hyperledger/fabric-baseos:2.5" == main["image"]


def test_an_image_that_a_node_has_is_not_pulled() -> None:
    """
    Whatever its tag, as with a daemon: of a build, of chaincode, of a trial, and Peitho's own.
    """
    latest = dataclasses.replace(BUILD, image="hyperledger/fabric-ccenv:latest")
    pods = (pod_of(made()), pod_of(job(record())), build(latest)["spec"])

    policies = {
        each["name"]: each.get("imagePullPolicy")
        for pod in pods
        for each in (*pod["containers"], *pod.get("initContainers", ()))
    }
    assert dict.fromkeys(("chaincode", "build", "helper", "puller"), "IfNotPresent") == policies


def test_it_pulls_what_chaincode_would_pull() -> None:
    """
    From a mirror, if there is one.
    """
    mirror = dataclasses.replace(SETTINGS, rewrite={"hyperledger/*": "mirror.local/fabric/*"})

    assert "mirror.local/fabric/fabric-baseos:2.5" in json.dumps(made(mirror))


def test_it_is_admitted_where_restricted_is_enforced() -> None:
    """
    As all of Peitho's Pods are.
    """
    assert [] == violations(pod_of(made()))


def test_it_goes_by_itself_and_is_nobodys_chaincode() -> None:
    """
    Also if Peitho is gone.
    """
    job = made()

    assert 120 == job["spec"]["activeDeadlineSeconds"]
    assert 60 == job["spec"]["ttlSecondsAfterFinished"]
    assert 0 == job["spec"]["backoffLimit"]
    assert labels.container_labels("peitho", "trial", ID) == job["metadata"]["labels"]
    assert job["metadata"]["labels"] == job["spec"]["template"]["metadata"]["labels"]
    assert 63 >= len(job["metadata"]["name"]) + len("-abcde")


def test_a_template_that_changes_its_image_is_refused() -> None:
    """
    As it is for chaincode.
    """
    other = {"spec": {"containers": [{"name": "chaincode", "image": "other:1"}]}}

    with pytest.raises(TemplateRefused, match="image"):
        made(dataclasses.replace(SETTINGS, template=other))


def test_a_trial_of_what_is_reached_runs_peithos_own_image() -> None:
    """
    Where chaincode would run, and by the rules of `restricted`.
    """
    made = trial_job.reaching(["peitho:8081", "$(HOME):1"], "ab" * 32, options=SETTINGS)
    spec = made["spec"]["template"]["spec"]
    (main,) = spec["containers"]

    assert SETTINGS.peitho_image == main["image"]
    assert ["peitho:8081", "$$(HOME):1"] == main["command"][3:]
    assert [] == violations(spec)
    assert "trial" == made["metadata"]["labels"]["peitho/kind"]
