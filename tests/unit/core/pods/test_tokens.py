import pytest

from peitho.core.pods.tokens import DeliveryTokens, blob_scope, build_scope

TOKENS = DeliveryTokens(b"k" * 32)
SCOPE = blob_scope("sha256:" + "ab" * 32)


def test_a_token_opens_its_own_scope() -> None:
    """
    After a restart with the same key, too.
    """
    assert TOKENS.opens(TOKENS.issue(SCOPE), SCOPE)
    assert DeliveryTokens(b"k" * 32).opens(TOKENS.issue(SCOPE), SCOPE)


@pytest.mark.parametrize(
    "scope", [blob_scope("sha256:" + "ac" * 32), build_scope("ab"), blob_scope(""), ""]
)
def test_a_token_opens_nothing_else(scope: str) -> None:
    """
    Neither another blob nor a build.
    """
    assert not TOKENS.opens(TOKENS.issue(SCOPE), scope)


@pytest.mark.parametrize(
    "token", ["", "x", "é", TOKENS.issue(SCOPE)[:-1], f"{TOKENS.issue(SCOPE)} "]
)
def test_what_is_no_token_opens_nothing(token: str) -> None:
    """
    Whatever someone sends is compared, and is no error.
    """
    assert not TOKENS.opens(token, SCOPE)


def test_another_key_signs_other_tokens() -> None:
    """
    Two Peithos do not open each other's blobs.
    """
    assert not DeliveryTokens(b"j" * 32).opens(TOKENS.issue(SCOPE), SCOPE)
    assert SCOPE not in TOKENS.issue(SCOPE)
    assert build_scope("x") != blob_scope("x")


def test_any_text_is_compared() -> None:
    """
    A header may hold bytes that are no text.
    """
    assert not DeliveryTokens(b"k").opens("\udcff", "scope")
