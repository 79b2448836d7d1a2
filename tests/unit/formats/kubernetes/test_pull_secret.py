import base64
import json
from typing import Any

import pytest

from peitho.formats.kubernetes import pull_secret
from peitho.formats.kubernetes.labels import former_labels


def made(host: str = "x.io:5000", email: str = "") -> dict[str, Any]:
    """The Secret of an account."""
    account = {"username": "robot", "password": "p:w"}
    return pull_secret.manifest("peitho", host=host, email=email, **account)


def account(secret: dict[str, Any]) -> dict[str, Any]:
    """What the kubelet reads in it."""
    auths: dict[str, Any] = json.loads(base64.b64decode(secret["data"][".dockerconfigjson"]))
    return dict(auths["auths"])


def test_a_pull_secret_is_what_the_kubelet_reads() -> None:
    """
    By the registry's address, as it is in references.
    """
    secret = made()

    assert "kubernetes.io/dockerconfigjson" == secret["type"]
    assert "peitho-registry" == secret["metadata"]["name"] == pull_secret.name("peitho")
    auth = base64.b64encode(b"robot:p:w").decode()
    assert {"x.io:5000": {"username": "robot", "password": "p:w", "auth": auth}} == account(secret)
    assert "a@x.io" == account(made(email="a@x.io"))["x.io:5000"]["email"]


def test_docker_hub_goes_by_its_older_name() -> None:
    """
    The kubelet looks for that one.
    """
    assert ["https://index.docker.io/v1/"] == list(account(made("docker.io")))


@pytest.mark.parametrize(
    ("labels", "own"),
    [
        (made()["metadata"]["labels"] | {"more": "x"}, True),
        (None, False),
        (former_labels("peitho"), True),
        ({"peitho/instance": "b"}, False),
        (former_labels("b"), False),
    ],
)
def test_a_secret_of_others_is_known_as_such(labels: dict[str, str] | None, own: bool) -> None:  # noqa: FBT001
    """
    By Peitho's labels, those of another instance being others'.
    """
    assert own == pull_secret.is_own({"metadata": {"labels": labels}}, "peitho")
