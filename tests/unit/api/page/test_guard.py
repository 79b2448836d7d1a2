import base64
from pathlib import Path

import pytest
from aiohttp.test_utils import make_mocked_request

from peitho.api.page.guard import Guard, PageAccess
from peitho.settings.live import Live


async def status(access: PageAccess, authorization: str = "") -> int:
    """What a request with that header gets."""
    headers = {"Authorization": authorization} if authorization else {}
    request = make_mocked_request("GET", "/", headers=headers)
    refused = await Guard(Live(access)).refused(request)
    return refused.status if refused else 200


def basic(name: str, password: str) -> str:
    """What a browser sends."""
    return f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        ("Bearer s3cret", 200),
        ("bearer  s3cret ", 200),
        (basic("anybody", "s3cret"), 200),
        (basic("", "s3cret"), 200),
        ("", 401),
        ("Bearer s3cre", 401),
        ("Bearer ", 401),
        ("Bearer \0", 401),
        (basic("s3cret", ""), 401),
        ("Basic s3cret", 401),
        ("Basic \u00e9", 401),
        ("Digest s3cret", 401),
    ],
)
async def test_who_has_the_token_reads(tmp_path: Path, authorization: str, expected: int) -> None:
    """
    As a program or as a browser sends it, and nobody else.
    """
    file = tmp_path / "token"
    file.write_text("s3cret\n")

    assert expected == await status(PageAccess(file, is_open=False), authorization)


@pytest.mark.parametrize("given", ["", "Bearer ", "Bearer x", "Bearer \0"])
async def test_a_file_without_a_token_lets_nobody_in(tmp_path: Path, given: str) -> None:
    """
    Whether it is empty, away, or none is set.
    """
    empty = tmp_path / "empty"
    empty.touch()
    for file in (empty, tmp_path / "away", None):
        assert 401 == await status(PageAccess(file, is_open=False), given)


async def test_an_open_page_asks_for_nothing() -> None:
    """
    As the Docker API without certificates.
    """
    assert 200 == await status(PageAccess())
