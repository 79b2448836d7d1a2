import base64
import dataclasses

import pytest

from peitho.clients.registry.transport import RegistryCredentials
from peitho.errors import InvalidArgument
from peitho.formats.kubernetes import pull_accounts
from tests.support.manifests import SETTINGS
from tests.support.pull_secrets import entry, pull_secret, secret_of

ROBOT = RegistryCredentials("robot", "pass:word")


@pytest.mark.parametrize(
    ("address", "domain", "is_for"),
    [
        ("x.io", "x.io", True),
        ("https://x.io/v2/", "x.io", True),
        ("X.io/p", "x.io", True),
        ("x.io/p/i", "x.io", True),
        ("x.io/q", "x.io", False),
        ("*.x.io", "a.x.io", True),
        ("*.x.io", "x.io", False),
        ("*.x.io", "a.b.x.io", False),
        ("x.io:5000", "x.io:5000", True),
        ("x.io", "x.io:5000", False),
        ("x.io:5000", "x.io", False),
        ("x.io", "x.io.evil.org", False),
        ("https://index.docker.io/v1/", "docker.io", True),
        ("https://index.docker.io/v1/", "x.io", False),
        ("http://x.io/v1/p", "x.io", True),
        ("x.io/p/ii", "x.io", False),
        ("x.?o", "x.io", True),
        ("*", "localhost", True),
        ("*.io:5000", "x.io:5000", True),
        ("*.io:*", "x.io:5000", False),
        ("[::1]:5000", "[::1]:5000", True),
        ("[::1]", "[::1]:5000", False),
    ],
)
def test_an_account_is_for_the_images_that_the_kubelet_would_pull_with_it(
    address: str, domain: str, *, is_for: bool
) -> None:
    """
    And for those of no other host, port or path.
    """
    accounts = pull_accounts.read(pull_secret({address: ROBOT}))

    found = pull_accounts.matching(accounts, domain, "p/i")
    assert is_for == bool(found)
    for each in found:
        assert ("robot", "pass:word", "mine") == (each.username, each.password, each.secret)
        assert "pass" not in repr(each)


def test_the_secrets_of_a_pod_are_those_of_the_settings_and_of_the_template() -> None:
    """
    Each once; what the template deletes is not one.
    """
    entries = [{"name": "a"}, {"name": "b"}, {"name": "c", "$patch": "delete"}]
    template = {"spec": {"imagePullSecrets": entries}}
    options = dataclasses.replace(SETTINGS, pull_secrets=("b",), template=template)

    assert ("b", "a") == pull_accounts.secret_names(options)
    assert () == pull_accounts.secret_names(dataclasses.replace(SETTINGS, template={"spec": None}))


def test_all_that_are_for_an_image_are_tried_the_longest_path_first() -> None:
    """
    A host comes before a glob; of two for the same, the first Secret's; none comes twice.
    """
    addresses = ("*.x.io/p/i", "a.x.io", "a.x.io/p", "a.x.io/p", "b.x.io")
    accounts = [
        account
        for number, address in enumerate(addresses)
        for account in pull_accounts.read(
            pull_secret({address: RegistryCredentials(str(number), "p")})
        )
    ]

    found = pull_accounts.matching([*accounts, *accounts], "a.x.io", "p/i")
    assert ["2", "3", "1", "0"] == [each.username for each in found]


def test_a_service_account_is_the_templates_or_default() -> None:
    """
    Its pull Secrets are each named once.
    """
    for spec, name in (
        (None, "default"),
        ({}, "default"),
        ({"serviceAccountName": "own"}, "own"),
        ({"serviceAccount": "former"}, "former"),
    ):
        options = dataclasses.replace(SETTINGS, template={"spec": spec})
        assert name == pull_accounts.service_account(options)

    entries = [{"name": "a"}, {}, {"name": "b"}, {"name": "a"}]
    assert ("a", "b") == pull_accounts.names_of({"imagePullSecrets": entries})
    assert () == pull_accounts.names_of({"imagePullSecrets": None})


def test_the_older_type_is_read_too() -> None:
    """
    An entry without an account is none.
    """
    secret = secret_of({"x.io": {"username": "u", "password": "p"}, "y.io": {}}, "dockercfg")

    assert [("x.io", "u", "p")] == [
        (each.host, each.username, each.password) for each in pull_accounts.read(secret)
    ]


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {},
        {"auths": []},
        {"auths": {"x.io": "secret"}},
        {"auths": {"x.io": {"auth": "secret"}}},
        {"auths": {"x.io": {"auth": 5}}},
        {"auths": {"x.io": {"username": 5}}},
        {"auths": {"x.io": entry(RegistryCredentials("", "")) | {"auth": "c2VjcmV0"}}},
    ],
)
def test_what_is_malformed_is_told_without_its_content(content: object) -> None:
    """
    It may be a password.
    """
    with pytest.raises(InvalidArgument, match=r"^its \.dockerconfigjson is malformed$"):
        pull_accounts.read(secret_of(content))


def test_an_account_is_read_as_the_kubelet_reads_it() -> None:
    """
    Also without padding; one whose password is in no encoding is of no use here, and no damage.
    """
    unpadded = base64.b64encode(b"u:passw").decode().removesuffix("==")
    latin = base64.b64encode(b"u:p\xe4ss").decode()
    entries = {
        "x.io": {"auth": unpadded},
        "y.io": {"auth": latin},
        "z.io": {"username": "\ud800secret"},
    }

    (account,) = pull_accounts.read(secret_of({"auths": entries}))

    assert len(unpadded) % 4
    assert ("x.io", "u", "passw") == (account.host, account.username, account.password)


def test_a_secret_of_another_type_is_no_pull_secret() -> None:
    """
    The kubelet would not read it.
    """
    with pytest.raises(InvalidArgument, match="none of the types"):
        pull_accounts.read(secret_of({}, "tls"))
