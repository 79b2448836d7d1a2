import pytest

from peitho.settings import masking
from peitho.settings.masking import MASK


def test_the_values_of_variables_are_masked() -> None:
    """
    Wherever they stand in a template; all else stays, and so does what was given.
    """
    reference = {"secretKeyRef": {"name": "s", "key": "value"}}
    env = [{"name": "A", "value": "planted"}, {"name": "B", "value": ""}, {"name": "C"}]
    template = {
        "spec": {
            "tolerations": [{"key": "a", "value": "b"}],
            "containers": [{"name": "c", "env": [*env, {"name": "D", "valueFrom": reference}]}],
        }
    }

    found = masking.masked(template)

    shown = found["spec"]["containers"][0]["env"]
    assert [{"name": "A", "value": MASK}, *env[1:]] == shown[:3]
    assert {"name": "D", "valueFrom": reference} == shown[3]
    assert template["spec"]["tolerations"] == found["spec"]["tolerations"]
    assert "planted" == env[0]["value"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("tcp://robot:planted@10.0.0.1:2375", f"tcp://robot:{MASK}@10.0.0.1:2375"),
        ("must be HOST (is 'robot:planted@x.io')", f"must be HOST (is 'robot:{MASK}@x.io')"),
        ("robot:planted@x.io/a", f"robot:{MASK}@x.io/a"),
        (f"x.io/a:1@sha256:{'0' * 64}", f"x.io/a:1@sha256:{'0' * 64}"),
        ("10.0.0.1:8080", "10.0.0.1:8080"),
    ],
)
def test_a_password_in_an_address_is_masked(text: str, shown: str) -> None:
    """
    A digest behind an image is none.
    """
    assert shown == masking.without_passwords(text)
