import pytest
from hypothesis import given
from hypothesis import strategies as st

from peitho.errors import PeithoError
from peitho.formats.images.auth_challenges import AuthChallenge, read_challenge, read_token, refusal

REALM = "https://auth.x.io/token"
BEARER = AuthChallenge("bearer", REALM, "x.io")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], None),
        (["Negotiate"], None),
        (['Basic realm="Registry Realm"'], AuthChallenge("basic", "Registry Realm")),
        (["basic"], AuthChallenge("basic")),
        ([f'Bearer realm="{REALM}",service="x.io",scope="repository:a:pull,push"'], BEARER),
        ([f'bearer service = x.io , realm="{REALM}"'], BEARER),
        ([f'Basic realm="a, Bearer b", Bearer realm="{REALM}",service="x.io"'], BEARER),
        (['Basic realm="a"', f'Bearer realm="{REALM}",service="x.io"'], BEARER),
        (['Bearer realm="say \\"hi\\""'], AuthChallenge("bearer", 'say "hi"')),
        (['Basic realm="a, Bearer realm=b"'], AuthChallenge("basic", "a, Bearer realm=b")),
        (['Bearer service="x.io"', "Basic"], AuthChallenge("basic")),
    ],
)
def test_a_challenge_is_read(headers: list[str], expected: AuthChallenge | None) -> None:
    """
    The token server before the password, as registries that have both mean it.
    """
    assert expected == read_challenge(headers)


@pytest.mark.parametrize(
    ("content", "text", "seconds"),
    [
        (b'{"token": "t", "expires_in": 300}', "t", 300),
        (b'{"access_token": "a"}', "a", 60),
        (b'{"token": "", "access_token": "a", "expires_in": 0}', "a", 60),
    ],
)
def test_a_token_is_read(content: bytes, text: str, seconds: float) -> None:
    """
    Under either of its names, good for a minute unless it says otherwise.
    """
    token = read_token(content)

    assert (text, seconds) == (token.text, token.seconds)
    assert "token" in repr(token).lower()
    assert f"'{text}'" not in repr(token)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"token": 1}',
        b'{"token": "a\\nb"}',
        b'{"token": "t", "expires_in": "soon"}',
    ],
)
def test_what_holds_no_token_is_refused_without_its_words(content: bytes) -> None:
    """
    There might be one in it after all.
    """
    with pytest.raises(PeithoError, match="the token server's answer"):
        read_token(content)


@given(st.text())
def test_no_header_breaks_the_reader(header: str) -> None:
    """
    It gives a challenge, or none.
    """
    found = read_challenge([header])

    assert found is None or found.scheme in ("basic", "bearer")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ""),
        (b"<h1>Bad\n  Gateway</h1>", "<h1>Bad Gateway</h1>"),
        (b'{"errors": [{"code": "DENIED", "message": "no access"}]}', "DENIED: no access"),
        (b'{"errors": [{"code": "A"}, {"message": "b", "detail": {}}, 1, {}]}', "A; b"),
        (b'{"errors": []}', '{"errors": []}'),
        (b'{"message": "x"}', '{"message": "x"}'),
        (b'["a"]', '["a"]'),
        (b"\x1b[31mred\xff", "[31mred�"),
        (b"user admin with Harbor12345 has no access", "user admin with *** has no access"),
        (b'{"errors": [{"message": "bad Harbor12345"}]}', "bad ***"),
        (b"x" * 1000, "x" * 300),
    ],
)
def test_a_refusal_is_told_in_the_registrys_words(content: bytes, words: str) -> None:
    """
    But for what only the two of us know.
    """
    assert words == refusal(content, secrets=["Harbor12345", ""])
