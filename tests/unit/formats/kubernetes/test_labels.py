from peitho.formats.kubernetes import labels


def test_what_is_ours_is_told_by_three_labels() -> None:
    """
    Whose instance, which kind, and which container.
    """
    found = labels.container_labels("mine", "chaincode", "a" * 64)

    assert {
        "app.kubernetes.io/managed-by": "peitho",
        "app.kubernetes.io/instance": "mine",
        "peitho/kind": "chaincode",
        "peitho/container": "a" * 32,
    } == found
    assert labels.own_labels("mine").items() <= labels.kind_labels("mine", "build").items()


def test_the_label_of_a_container_fits_into_a_label() -> None:
    """
    An ID has 64 characters, a label's value 63 at most.
    """
    assert len(labels.container_label("a" * 64)) <= 63
