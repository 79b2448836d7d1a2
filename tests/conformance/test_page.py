"""The status page in a real browser: live with its scripts, and what others say stays text."""

import asyncio
import base64
import hashlib
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from peitho.api import health
from peitho.api.health import PageParts
from peitho.api.page.guard import PageAccess
from peitho.clients.tls import CertificateFiles
from peitho.formats.docker import streams
from peitho.formats.docker.streams import STDOUT
from peitho.formats.records import ContainerSpec
from peitho.settings.live import Live
from tests.lab import browser
from tests.support.archives import archive_bytes, file
from tests.support.contexts import chunks
from tests.support.in_process import Running, listening, running

EVIL = "<script>document.title = 'taken'</script><img src=x onerror=\"document.title='taken'\">"
BUILDER = ContainerSpec(image="hyperledger/fabric-ccenv:2.5", command=("x",), entrypoint=(), env=())


@pytest.fixture(scope="module", autouse=True)
def chromium() -> None:
    """The browser, installed here, since no test has the time for it."""
    browser.install()


async def begun(peitho: Running) -> str:
    """The ID of a build that is carried out."""
    build = peitho.services.builds.create(BUILDER, peer="10.0.0.7")
    source = archive_bytes([file("main.go", b"package main")], compression="gz")
    await build.put_archive("/chaincode/input", chunks(source))
    peitho.services.builds.tasks.spawn(build.start(), name="start")
    await peitho.cluster.until_asked("POST", "pods")
    return build.id


async def say(peitho: Running, build: str, line: str) -> None:
    """Have a build say a line."""
    run = peitho.services.builds.pool.get(build)
    await run.append_output(chunks(streams.frame(STDOUT, f"{line}\n".encode())))


def known_by(certificate: Path) -> str:
    """What the browser knows a certificate by: the digest of its key."""
    key = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(spki).digest()).decode()


async def test_a_build_is_followed_and_what_it_says_stays_text(
    tmp_path: Path, certificates: Path
) -> None:
    """
    What it says later comes to the page, in TLS and with the token; nothing of it is markup.
    """
    ours, token = certificates / "ours", tmp_path / "token"
    token.write_text("s3cret")
    tls = CertificateFiles(
        "these",
        ours / "ca.crt",
        ours / "apiserver.crt",
        ours / "apiserver.key",
        is_server=True,
    )
    access = PageAccess(token, is_open=False, takes_certificates=True)
    is_followed = asyncio.Event()

    async def note(request: web.Request, _: web.StreamResponse) -> None:
        if request.path.endswith("/log") and request.secure:
            is_followed.set()

    async with running(tmp_path) as peitho:
        build = await begun(peitho)
        await say(peitho, build, f"before {EVIL}")
        page_parts = PageParts(Live(access))
        application = health.application(peitho.services, page=page_parts)
        application.on_response_prepare.append(note)
        async with listening(application, tls=tls) as url, asyncio.TaskGroup() as tasks:
            page = tasks.create_task(
                browser.opened(
                    f"{url.replace('//', '//anybody:s3cret@')}/status/builds/{build}",
                    profile=tmp_path / "profile",
                    known_by=known_by(ours / "apiserver.crt"),
                )
            )
            await is_followed.wait()
            await say(peitho, build, f"after {EVIL}")
        document = page.result()

    assert "before &lt;script&gt;" in document
    assert "after &lt;script&gt;" in document
    assert "<img" not in document
    assert 1 == document.count("<script")
    assert "<title>taken" not in document


async def test_all_of_it_is_there_without_scripts(tmp_path: Path) -> None:
    """
    As it is served; what only they can do is not offered: with them updates can be paused.
    """
    async with running(tmp_path) as peitho:
        build = await begun(peitho)
        await say(peitho, build, "said before")
        async with peitho.http.get(peitho.operations) as response:
            served = await response.text()
        document = await browser.opened(peitho.operations, profile=tmp_path / "profile")

    for text in (served, document):
        assert build[:12] in text
        assert "said before" in text
    assert "hidden" in button(served)
    assert "hidden" not in button(document)


def button(document: str) -> str:
    """The attributes of its button."""
    return document.partition("<button")[2].partition(">")[0]
