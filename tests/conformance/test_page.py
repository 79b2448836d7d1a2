"""The status page in a real browser: live with its scripts, and what others say stays text."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from peitho.api import health
from peitho.formats.docker import streams
from peitho.formats.docker.streams import STDOUT
from peitho.formats.records import ContainerSpec
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


async def test_a_build_is_followed_and_what_it_says_stays_text(tmp_path: Path) -> None:
    """
    What it says after the page was opened comes to it; nothing of it is markup.
    """
    is_followed = asyncio.Event()

    async def note(request: web.Request, _: web.StreamResponse) -> None:
        if request.path.endswith("/log"):
            is_followed.set()

    async with running(tmp_path) as peitho:
        build = await begun(peitho)
        await say(peitho, build, f"before {EVIL}")
        application = health.application(peitho.services)
        application.on_response_prepare.append(note)
        async with listening(application) as url, asyncio.TaskGroup() as tasks:
            page = tasks.create_task(
                browser.opened(f"{url}/status/builds/{build}", profile=tmp_path / "profile")
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
