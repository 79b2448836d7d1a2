import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peitho.errors import InvalidArgument
from peitho.formats.docker import registry_auth
from peitho.formats.docker.registry_auth import RegistryAuth, RegistryAuths
from tests.support.registry_double import USER

SECRET = USER.password * 3
# Its base64 has both of the characters in which the alphabets differ.
ODD = "p\u00e4ss/w+rd?>~\u00ff"


def packed(said: object) -> str:
    """A header, as clients write it."""
    return base64.urlsafe_b64encode(json.dumps(said).encode()).decode()


def account(address: str) -> dict[str, str]:
    """An account at a registry."""
    return {"username": "u", "password": SECRET, "serveraddress": address}


# The first three are those of real peers of 1.4 and 2.5.16.
@pytest.mark.parametrize(
    ("auth", "config"),
    [
        ("e30K", "bnVsbAo="),
        ("", "bnVsbA=="),
        ("e30=", ""),
        (packed({"username": "", "password": "", "auth": "", "email": ""}), packed({"x.io": None})),
        (packed({"username": "u", "password": SECRET}), packed({"auths": {"x.io": {}}})),
    ],
)
def test_clients_send_headers_that_say_nothing(auth: str, config: str) -> None:
    """
    And an account that names no registry is for none.
    """
    assert {} == registry_auth.read([auth], [config]).by_domain
    assert {} == registry_auth.read([], []).by_domain


def test_an_account_is_for_the_registry_that_it_names() -> None:
    """
    And for no other, whatever its name begins or ends with.
    """
    config = {
        "https://x.io/v1/": {"username": "u", "password": "p"},
        "Y.io:5000": {"identitytoken": "t"},
    }
    auths = registry_auth.read([packed(account("z.io"))], [packed(config)])

    for domain in ("x.io", "y.io:5000", "z.io"):
        assert auths.of(domain)
    for domain in ("x.io:443", "y.io", "a.z.io", "z.io.evil.example", "docker.io", ""):
        assert auths.of(domain) is None


@pytest.mark.parametrize(
    "address",
    ["https://index.docker.io/v1/", "docker.io", "index.docker.io", "registry-1.docker.io"],
)
def test_docker_hub_has_several_names(address: str) -> None:
    """
    References have one of them.
    """
    auths = registry_auth.read([packed(account(address))], [])

    assert auths.of("docker.io") is not None
    assert ["docker.io"] == list(auths.by_domain)


# Its length is none of three, so there is padding.
JSON = base64.b64encode(json.dumps(account("x.io")).encode()).decode()


@pytest.mark.parametrize(
    "value",
    [
        f"{SECRET}!",
        JSON.rstrip("="),
        f"{JSON}=",
        f"={JSON}",
        f"{JSON}====",
        f"{JSON} ",
        f"{JSON}\udcff",
        packed([account("x.io")]),
        packed(SECRET),
        packed(account("x.io") | {"password": [SECRET]}),
        packed(account("x.io") | {"username": "\ud800"}),
        base64.b64encode(SECRET.encode()).decode(),
        base64.b64encode(b"{" + SECRET.encode()).decode(),
        base64.b64encode(b"\xff\xfe" + SECRET.encode()).decode(),
        base64.b64encode(b"[" * 5000).decode(),
        base64.b64encode(b"9" * 5000).decode(),
    ],
)
def test_a_damaged_header_is_refused_without_its_content(value: str) -> None:
    """
    Whichever it is; and so is one that is there twice.
    """
    for auth, config in (
        ([value], []),
        (["e30="], [value]),
        ([value, value], []),
        ([JSON] * 2, []),
    ):
        with pytest.raises(InvalidArgument, match=r"^invalid X-Registry-\w+ header: ") as refused:
            registry_auth.read(auth, config)
        assert SECRET not in str(refused.value)
        assert len(str(refused.value)) < 100


def test_a_damaged_account_among_several_is_refused() -> None:
    """
    Others do not count then.
    """
    with pytest.raises(InvalidArgument, match="an account is no JSON object"):
        registry_auth.read([], [packed({"x.io": account(""), "y.io": SECRET})])


def test_an_account_is_written_as_it_is_read() -> None:
    """
    In the URL's alphabet, as dockerd reads it.
    """
    auth = RegistryAuth("x.io", "robot", ODD)
    value = registry_auth.header(auth)

    assert {"x.io": auth} == registry_auth.read([value], []).by_domain
    assert {"username": "robot", "password": ODD, "serveraddress": "x.io"} == json.loads(
        base64.urlsafe_b64decode(value)
    )
    assert not set(value) & set("+/\r\n")


def test_nothing_that_prints_an_account_prints_its_secrets() -> None:
    """
    As a traceback or a log line would.
    """
    auth = RegistryAuth("x.io", "u", SECRET, "t0ken", "t0ken")

    for each in (auth, RegistryAuths({"x.io": auth})):
        assert SECRET not in f"{each!r}{each}"
        assert "t0ken" not in f"{each!r}{each}"
    assert "no: *** and ***" == registry_auth.hidden(f"no: {SECRET} and t0ken", auth)


@given(st.text(), st.text())
def test_any_text_is_read_or_refused(auth: str, config: str) -> None:
    """
    Headers come from outside.
    """
    try:
        found = registry_auth.read([auth], [config]).by_domain
    except InvalidArgument:
        found = {}

    assert {} == found
