"""What Pod Security says of the user 0, and Pods with a user namespace."""

import pytest

from peitho.formats.kubernetes import user_namespace


@pytest.mark.parametrize(
    ("words", "is_about"),
    [
        ('violates PodSecurity "restricted:v1.34": runAsNonRoot != true (pod must not)', True),
        ('violates PodSecurity "restricted:latest": runAsUser=0 (pod must not set)', True),
        ('violates PodSecurity "restricted:latest": hostPath volumes (volume "x")', False),
        ("exceeded quota: q", False),
    ],
)
def test_a_refusal_for_the_user_0_says_what_is_missing(words: str, *, is_about: bool) -> None:
    """
    No other does.
    """
    expected = f"{words}{user_namespace.MISSING}" if is_about else words
    assert expected == user_namespace.explained(words)


def test_a_container_may_have_the_user_0_alone() -> None:
    """
    As a template may give it.
    """
    containers = [{"name": "a"}, {"name": "b", "securityContext": {"runAsUser": 0}}]
    assert user_namespace.may_help({"containers": containers})
    assert not user_namespace.may_help({"containers": containers[:1]})


def test_a_pod_as_root_is_that_pod_with_another_user() -> None:
    """
    What else Pod Security wants of it stays.
    """
    security = {"allowPrivilegeEscalation": False, "runAsNonRoot": True}
    pod = {
        "kind": "Pod",
        "spec": {
            "securityContext": {"runAsUser": 500, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "a", "securityContext": security}],
        },
    }
    found = user_namespace.as_root(pod)["spec"]

    assert 0 == found["securityContext"]["runAsUser"]
    assert {"type": "RuntimeDefault"} == found["securityContext"]["seccompProfile"]
    assert security | {"runAsNonRoot": False} == found["containers"][0]["securityContext"]
