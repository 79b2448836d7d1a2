import pytest

from peitho.core.pods import tokens
from peitho.core.pods.tokens import DeliveryTokens, Holder, blob_scope, build_scope

KEY = b"k" * 32
TOKENS = DeliveryTokens(KEY)
HOLDER = Holder("cc-dev-peer0-mycc-0123456789", "ab" * 32)
SCOPE = blob_scope("sha256:" + "ab" * 32)
TOKEN = TOKENS.issue(SCOPE, HOLDER)


def test_a_token_opens_its_own_scope_and_says_whose_it_is() -> None:
    """
    After a restart with the same key, too.
    """
    assert HOLDER == TOKENS.holder(TOKEN, SCOPE)
    assert HOLDER == DeliveryTokens(KEY, "default").holder(TOKEN, SCOPE)


@pytest.mark.parametrize(
    "scope", [blob_scope("sha256:" + "ac" * 32), build_scope("ab"), blob_scope(""), ""]
)
def test_a_token_opens_nothing_else(scope: str) -> None:
    """
    Neither another blob nor a build.
    """
    assert TOKENS.holder(TOKEN, scope) is None


@pytest.mark.parametrize(
    "token",
    ["", "x", "é", "...", "....", TOKEN[:-1], f"{TOKEN} ", f".{TOKEN}", TOKEN.rpartition(".")[2]],
)
def test_what_is_no_token_opens_nothing(token: str) -> None:
    """
    Whatever someone sends is compared, and is no error.
    """
    assert TOKENS.holder(token, SCOPE) is None


@pytest.mark.parametrize("place", range(4))
def test_no_part_of_a_token_can_be_replaced(place: int) -> None:
    """
    Tenant, Secret, container, and the proof of all three.
    """
    other = DeliveryTokens(KEY, "org2").issue(SCOPE, Holder("cc-other", "cd" * 32))
    parts, others = TOKEN.split("."), other.split(".")
    parts[place] = others[place]

    assert TOKENS.holder(".".join(parts), SCOPE) is None
    assert DeliveryTokens(KEY, "org2").holder(".".join(parts), SCOPE) is None


def test_a_token_names_its_tenant_and_opens_nothing_of_another() -> None:
    """
    Also where a name has dots.
    """
    for tenant in ("org1", "a.b", "org1.example.com"):
        theirs = DeliveryTokens(KEY, tenant)
        token = theirs.issue(SCOPE, HOLDER)

        assert tenant == tokens.tenant_of(token)
        assert HOLDER == theirs.holder(token, SCOPE)
        assert TOKENS.holder(token, SCOPE) is None
        assert theirs.holder(TOKEN, SCOPE) is None


@pytest.mark.parametrize("token", ["", "ab" * 32, "a.b", "\udcff"])
def test_what_is_no_token_names_no_tenant(token: str) -> None:
    """
    As a token of an earlier version, which had none.
    """
    assert tokens.tenant_of(token) == ""


def test_another_key_signs_other_tokens() -> None:
    """
    Two Peithos do not open each other's blobs.
    """
    assert DeliveryTokens(b"j" * 32).holder(TOKEN, SCOPE) is None
    assert SCOPE not in TOKEN
    assert build_scope("x") != blob_scope("x")


def test_any_text_is_compared() -> None:
    """
    A header may hold bytes that are no text.
    """
    assert DeliveryTokens(b"k").holder("a.b.c.\udcff", "scope") is None
