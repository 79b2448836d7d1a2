import pytest

from tests.support.manifests import SETTINGS


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("hyperledger/fabric-ccenv:2.5", 500),
        ("hyperledger/fabric-javaenv:2.5", 0),
        ("openshift/ccenv", None),
    ],
)
def test_the_user_is_a_setting_by_image(image: str, expected: int | None) -> None:
    """
    Java needs root, OpenShift gives its own, all others have the default.
    """
    assert expected == SETTINGS.user_for(image)
