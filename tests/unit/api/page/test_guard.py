import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp.test_utils import make_mocked_request

from peitho.api import health
from peitho.api.health import PageParts
from peitho.api.page.guard import Guard, PageAccess
from peitho.clients.tls import CertificateFiles
from peitho.settings.live import Live
from tests.support.in_process import listening, running
from tests.support.tls_wire import client

OPEN_TO_ALL = ("/livez", "/readyz", "/readyz?verbose", "/healthz")
GUARDED = ("/", "/status/page.js", "/metrics")


async def status(access: PageAccess, authorization: str = "", host: str = "") -> int:
    """What a request with these headers gets."""
    headers = {"Authorization": authorization, "Host": host}
    headers = {name: value for name, value in headers.items() if value}
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


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost:9090", 200),
        ("LOCALHOST.", 200),
        ("peitho.localhost", 200),
        ("127.0.0.1:9443", 200),
        ("10.244.0.7:9090", 200),
        ("[::1]:9090", 200),
        ("[fd00::1]", 200),
        ("peitho.fabric:9090", 200),
        ("Peitho.Fabric", 200),
        ("status.example.com", 200),
        ("evil.example", 403),
        ("evil.example:9090", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("peitho.fabric.evil.example", 403),
        ("example.com", 403),
        ("evil@localhost:9090", 403),
        (":9090", 403),
        ("::1", 403),
    ],
)
async def test_an_open_page_is_for_names_that_nobody_else_can_lead_here(
    tmp_path: Path, host: str, expected: int
) -> None:
    """
    A website whose own name is led here would be the page's origin; with a token it reads nothing.
    """
    file = tmp_path / "token"
    file.write_text("s3cret")

    assert expected == await status(PageAccess(hosts=("peitho.fabric", "*.example.com")), host=host)
    assert 200 == await status(PageAccess(hosts=("*",)), host=host)
    assert 200 == await status(PageAccess(file, is_open=False), "Bearer s3cret", host)


@asynccontextmanager
async def served(tmp_path: Path, folder: Path, access: PageAccess) -> AsyncIterator[str]:
    """The operations listener in TLS; it takes certificates of the CA in a folder."""
    tls = CertificateFiles(
        "these",
        folder / "ca.crt",
        folder / "apiserver.crt",
        folder / "apiserver.key",
        is_server=True,
    )
    async with (
        running(tmp_path) as peitho,
        listening(
            health.application(peitho.services, page=PageParts(Live(access))), tls=tls
        ) as url,
    ):
        yield url


async def statuses(url: str, context: ssl.SSLContext, authorization: str = "") -> set[int]:
    """What the guarded paths answer; those for all answer whoever asks."""
    headers = {"Authorization": authorization, "Host": "evil.example"}
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(url, connector=connector, headers=headers) as http:
        for path in OPEN_TO_ALL:
            async with http.get(path) as response:
                assert 200 == response.status
        found = set()
        for path in GUARDED:
            async with http.get(path) as response:
                found.add(response.status)
        return found


@pytest.mark.parametrize("has_token", [False, True])
async def test_where_certificates_are_taken_one_is_needed_or_the_token(
    tmp_path: Path, certificates: Path, *, has_token: bool
) -> None:
    """
    For metrics, too, and not for probes; a password is asked for only if there is one.
    """
    folder, token = certificates / "ours", tmp_path / "token"
    token.write_text("s3cret")
    access = PageAccess(token if has_token else None, is_open=False, takes_certificates=True)
    async with served(tmp_path, folder, access) as url:
        assert {200} == await statuses(url, client(folder))
        unknown = client(folder, named=False)
        assert {401 if has_token else 403} == await statuses(url, unknown)
        assert {401 if has_token else 403} == await statuses(url, unknown, "Bearer other")
        assert {200 if has_token else 403} == await statuses(url, unknown, "Bearer s3cret")
        foreign = client(folder, named=False)
        foreign.load_cert_chain(
            certificates / "others/admin.crt", certificates / "others/admin.key"
        )
        with pytest.raises(aiohttp.ClientError):
            await statuses(url, foreign, "Bearer s3cret")


async def test_in_tls_an_open_page_is_read_by_any_name(tmp_path: Path, certificates: Path) -> None:
    """
    A browser goes no further for a name that the certificate is not for.
    """
    folder = certificates / "ours"
    async with served(tmp_path, folder, PageAccess()) as url:
        assert {200} == await statuses(url, client(folder, named=False))
