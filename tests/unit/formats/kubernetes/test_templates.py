import copy
import json
from pathlib import Path
from typing import Any

import pytest

from peitho.errors import TemplateRefused
from peitho.formats.kubernetes import templates
from peitho.formats.kubernetes.objects import Manifest
from peitho.formats.kubernetes.templates import TemplateOverride
from tests.support.manifests import CRT, build, job, record, with_files
from tests.support.restricted import violations

# What `kubectl patch --local --type=strategic` (1.32) made of generated templates; the directives
# that it leaves in new entries of lists are taken out.
RECORDED = json.loads((Path(__file__).parent / "merges.json").read_text())


def chaincode() -> Manifest:
    """The Pod template of a chaincode with a file."""
    made: Manifest = job(with_files(record(), {CRT: b"x"}))["spec"]["template"]
    return made


def without_empty(value: Any) -> Any:
    """As Go writes it: what is empty is left out, but for an emptyDir."""
    if isinstance(value, dict):
        found = {key: without_empty(each) for key, each in value.items()}
        return {key: each for key, each in found.items() if each or key == "emptyDir"}
    return [without_empty(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("case", RECORDED["cases"], ids=range(len(RECORDED["cases"])))
def test_templates_are_merged_as_kubectl_merges(case: Manifest) -> None:
    """
    Lists by their keys and in the same order, nulls, `$patch` and `$retainKeys`.
    """
    before = copy.deepcopy((RECORDED["base"], case["template"]))

    found = templates.merged(RECORDED["base"], case["template"])

    assert case["merged"] == without_empty(found)
    assert before == (RECORDED["base"], case["template"])


def test_a_template_adds_what_an_operator_needs() -> None:
    """
    Placement, pull secrets, a sidecar, a variable; all of ours is still there.
    """
    template = {
        "metadata": {"labels": {"team": "a"}, "annotations": {"sidecar.istio.io/inject": "false"}},
        "spec": {
            "priorityClassName": "high",
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "fabric", "operator": "Exists"}],
            "imagePullSecrets": [{"name": "pull"}],
            "containers": [
                {"name": "chaincode", "env": [{"name": "TZ", "value": "UTC"}]},
                {"name": "sidecar", "image": "s"},
            ],
            "volumes": [{"name": "layer", "emptyDir": {"sizeLimit": "1Gi"}}],
        },
    }

    made = templates.applied(chaincode(), [template])

    spec = made["spec"]
    assert ["chaincode", "sidecar"] == [each["name"] for each in spec["containers"]]
    assert {"name": "TZ", "value": "UTC"} in spec["containers"][0]["env"]
    assert {"disk": "ssd", "kubernetes.io/arch": "arm64"} == spec["nodeSelector"]
    assert "a" == made["metadata"]["labels"]["team"]
    assert "chaincode" == made["metadata"]["labels"]["peitho/kind"]
    assert {"name": "layer", "emptyDir": {"sizeLimit": "1Gi"}} in spec["volumes"]
    assert [] == [each for each in violations(spec) if not each.startswith("sidecar")]


def test_a_template_may_set_a_variable_that_a_peer_sets() -> None:
    """
    To a value, or from somewhere: wherever Peitho has the peer's value, it stands in its place.
    """
    name = "CORE_PEER_LOCALMSPID"
    reference = {"configMapKeyRef": {"name": "c", "key": "k"}}
    for mine in ({"name": name, "value": "x"}, {"name": name, "valueFrom": reference}):
        template = {"spec": {"containers": [{"name": "chaincode", "env": [mine]}]}}

        (main,) = templates.applied(chaincode(), [template])["spec"]["containers"]

        assert [mine] == [each for each in main["env"] if each["name"] == name]


def test_later_templates_go_over_earlier_ones() -> None:
    """
    An override for some chaincodes is merged into what is for all.
    """
    first = {"spec": {"nodeSelector": {"disk": "ssd", "zone": "a"}}}
    second = {"spec": {"nodeSelector": {"disk": "hdd"}}}

    selector = templates.applied(chaincode(), [first, second])["spec"]["nodeSelector"]

    assert ("hdd", "a") == (selector["disk"], selector["zone"])


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ({"restartPolicy": "Always"}, "spec.restartPolicy"),
        ({"restartPolicy": None}, "spec.restartPolicy"),
        ({"containers": [{"$patch": "replace"}, {"name": "x"}]}, "spec.containers[chaincode]"),
        (
            {"containers": [{"$patch": "delete", "name": "chaincode"}]},
            "spec.containers[chaincode]",
        ),
        ({"initContainers": None}, "spec.initContainers[puller]"),
        (
            {"containers": [{"name": "chaincode", "args": ["x"]}]},
            "spec.containers[chaincode].args",
        ),
        (
            {"containers": [{"name": "chaincode", "image": "x"}]},
            "spec.containers[chaincode].image",
        ),
        (
            {"containers": [{"name": "chaincode", "restartPolicy": "Always"}]},
            "spec.containers[chaincode].restartPolicy",
        ),
        (
            {"initContainers": [{"name": "puller", "env": [{"name": "PEITHO_URL", "value": "x"}]}]},
            "spec.initContainers[puller].env[PEITHO_URL]",
        ),
        (
            {"containers": [{"name": "chaincode", "volumeMounts": None}]},
            "spec.containers[chaincode].volumeMounts[/usr/local/bin/chaincode]",
        ),
        (
            {"volumes": [{"name": "layer", "emptyDir": None, "configMap": {"name": "x"}}]},
            "spec.volumes[layer]",
        ),
        ({"volumes": [{"name": "files", "secret": {"secretName": "x"}}]}, "spec.volumes[files]"),
        ({"nodeSelector": {"kubernetes.io/arch": "amd64"}}, "spec.nodeSelector[kubernetes.io/arch"),
    ],
)
def test_what_peitho_relies_on_stays(spec: Manifest, name: str) -> None:
    """
    A template that would break a launch is refused, and says with what.
    """
    with pytest.raises(TemplateRefused) as raised:
        templates.applied(chaincode(), [{"spec": spec}])

    assert f"a template may not change {name}" in str(raised.value)


def test_labels_of_ours_stay() -> None:
    """
    By them a container's Pod is found again.
    """
    for labels in ({"peitho/container": "x"}, {"peitho/instance": None}):
        with pytest.raises(TemplateRefused, match=r"metadata\.labels"):
            templates.applied(chaincode(), [{"metadata": {"labels": labels}}])


def test_labels_of_helm_are_the_operators() -> None:
    """
    For policies that select Pods by them.
    """
    wanted = {"app.kubernetes.io/managed-by": "peitho", "app.kubernetes.io/part-of": "net"}

    made = templates.applied(chaincode(), [{"metadata": {"labels": wanted}}])

    assert wanted.items() <= made["metadata"]["labels"].items()


def test_a_builds_wrapper_and_helper_stay() -> None:
    """
    All else of a build's Pod is the operator's, its deadline and its name's owner are not lost.
    """
    template = {"spec": {"containers": [{"name": "build", "env": [{"name": "GOFLAGS"}]}]}}
    made = templates.applied(build(), [template])

    assert build()["metadata"] == made["metadata"]
    with pytest.raises(TemplateRefused, match=r"spec\.containers\[build\]\.command"):
        templates.applied(
            build(), [{"spec": {"containers": [{"name": "build", "command": ["x"]}]}}]
        )
    with pytest.raises(TemplateRefused, match=r"spec\.containers\[helper\]\.image"):
        templates.applied(build(), [{"spec": {"containers": [{"name": "helper", "image": "x"}]}}])


def test_a_build_may_be_bound_to_an_architecture() -> None:
    """
    Nothing is built yet that would need another.
    """
    template = {"spec": {"nodeSelector": {"kubernetes.io/arch": "amd64"}}}

    made = templates.applied(build(), [template])

    assert {"kubernetes.io/arch": "amd64"} == made["spec"]["nodeSelector"]


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ({"kind": "Pod"}, "kind: only metadata and spec"),
        ({"spec": [1]}, "spec: must be a map"),
        ({"metadata": {"name": "x"}}, "metadata.name: only labels and annotations"),
        (
            {"spec": {"containers": [{"image": "x"}]}},
            "spec.containers: each entry must have a name",
        ),
        ({"spec": {"containers": ["x"]}}, "spec.containers: each entry must have a name"),
        ({"spec": {"containers": {"name": "x"}}}, "spec.containers: must be a list"),
        (
            {"spec": {"containers": [{"name": "c", "env": [{"value": "x"}]}]}},
            "spec.containers.env: each entry must have a name",
        ),
        ({"spec": {"volumes": [{"name": "v", "$patch": "merge"}]}}, "$patch may be replace or"),
        ({"spec": {"$setElementOrder/volumes": []}}, "$setElementOrder/volumes is not understood"),
        ({"spec": {"$retainKeys": "x"}}, "$retainKeys must be a list"),
    ],
)
def test_a_template_that_is_none_is_told(template: Manifest, problem: str) -> None:
    """
    Before anything is merged.
    """
    (found,) = templates.problems(template)

    assert problem in found


def test_a_template_that_is_one_has_no_problems() -> None:
    """
    An empty one, and all that was recorded.
    """
    assert [] == templates.problems({})
    for case in RECORDED["cases"]:
        assert [] == templates.problems(case["template"])


@pytest.mark.parametrize(
    ("msp_id", "label", "expected"),
    [
        ("Org1MSP", "mycc*", True),
        ("*", "*", True),
        ("Org?MSP", "mycc_1", True),
        ("Org2MSP", "*", False),
        ("Org1MSP", "other*", False),
        ("org1msp", "*", False),
    ],
)
def test_an_override_is_for_those_whom_it_names(msp_id: str, label: str, *, expected: bool) -> None:
    """
    MSP ID and label both match, with `*`.
    """
    env = ["CORE_CHAINCODE_ID_NAME=mycc_1:" + "ab" * 32, "CORE_PEER_LOCALMSPID=Org1MSP"]

    assert expected == TemplateOverride(msp_id, label, {}).matches(env)


def test_a_chaincode_of_1_4_has_its_name_for_a_label() -> None:
    """
    Its ID is `name:version`, and it may tell no MSP ID.
    """
    assert TemplateOverride("*", "mycc", {}).matches(["CORE_CHAINCODE_ID_NAME=mycc:1.0"])
    assert not TemplateOverride("Org1MSP", "*", {}).matches(["CORE_CHAINCODE_ID_NAME=mycc:1.0"])
