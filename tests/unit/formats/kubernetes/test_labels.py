from peitho.formats.kubernetes import labels
from tests.support.former import former


def test_what_is_ours_is_told_by_three_labels() -> None:
    """
    Whose instance, which kind, and which container.
    """
    found = labels.container_labels("mine", "chaincode", "a" * 64)

    assert {
        "peitho/instance": "mine",
        "peitho/kind": "chaincode",
        "peitho/container": "a" * 32,
    } == found
    assert labels.own_labels("mine").items() <= labels.kind_labels("mine", "build").items()


def test_the_label_of_a_container_fits_into_a_label() -> None:
    """
    An ID has 64 characters, a label's value 63 at most.
    """
    assert len(labels.container_label("a" * 64)) <= 63


def test_former_labels_are_as_good_as_those_of_today() -> None:
    """
    Of the same instance alone, and where there are none of today.
    """
    own = labels.container_labels("mine", "chaincode", "a" * 64)
    earlier = former(own)

    assert own == labels.renewed(earlier)
    assert own == labels.renewed(own)
    assert labels.are_own(earlier, "mine")
    assert not labels.are_own(earlier, "theirs")
    assert not labels.are_own(earlier | {labels.INSTANCE: "theirs"}, "mine")
    for key in labels.former_labels("mine"):
        assert not labels.are_own({**earlier, key: "helm"}, "mine")


def test_a_label_of_others_is_left_alone() -> None:
    """
    A template may give Pods labels of Helm's.
    """
    theirs = {"app.kubernetes.io/instance": "mine", "app.kubernetes.io/managed-by": "argocd"}

    assert theirs == labels.renewed(theirs)
