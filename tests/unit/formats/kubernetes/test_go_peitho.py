import pytest

from peitho.formats.kubernetes import go_peitho
from peitho.formats.kubernetes.go_peitho import GoChaincode
from peitho.formats.kubernetes.objects import Manifest
from tests.support.go_peitho import NAME, config_map, deployment


def test_chaincode_of_the_go_project_is_known_by_its_shape() -> None:
    """
    With the ConfigMap that has its keys, where the peer has TLS.
    """
    with_tls, without = go_peitho.find(
        [deployment(), deployment("dev-b")], [config_map(f"{NAME}-configmap"), config_map("other")]
    )

    assert (
        GoChaincode(
            deployment=NAME,
            config_map=f"{NAME}-configmap",
            chaincode="mycc:1.0",
            msp_id="Org1MSP",
            image="10.0.0.9:8099/chaincode/dev-peer0.org1-mycc-1.0-abcd",
            replicas=1,
        )
        == with_tls
    )
    assert ("dev-b", "") == (without.deployment, without.config_map)
    assert (
        f"Deployment {NAME}: mycc:1.0 of Org1MSP, image {with_tls.image}, replicas 1, "
        f"keys in ConfigMap {NAME}-configmap" == str(with_tls)
    )
    assert "ConfigMap" not in str(without)


@pytest.mark.parametrize(
    "changes",
    [{"env": []}, {"env": None}, {"env": [{"name": "CORE_PEER_ID"}]}],
)
def test_what_has_another_shape_is_left_alone(changes: Manifest) -> None:
    """
    Peers and all else in the namespace, whatever their names are.
    """
    assert () == go_peitho.find([deployment(**changes)], [])


def test_another_selector_is_another_owner() -> None:
    """
    The Go project has its one label, and no more.
    """
    other = deployment()
    other["spec"]["selector"]["matchLabels"]["team"] = "a"

    assert () == go_peitho.find([other], [])


def test_adoption_can_be_undone() -> None:
    """
    How many there were is noted, and all that was adopted has one label.
    """
    (found,) = go_peitho.find([deployment()], [])

    assert {
        "metadata": {
            "labels": {"peitho/adopted": "true"},
            "annotations": {"peitho/adopted-replicas": "1"},
        },
        "spec": {"replicas": 0},
    } == go_peitho.adoption(found)
    assert {"metadata": {"labels": {"peitho/adopted": "true"}}} == go_peitho.mark()
