"""The pages as they are served, before the cluster's double."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from peitho.api import health
from peitho.api.health import PageParts
from peitho.api.page.checks import Checked, Found
from peitho.api.page.guard import PageAccess
from peitho.api.page.pages import HEADERS, StatusPage
from peitho.formats.docker import streams
from peitho.formats.docker.streams import STDOUT
from peitho.formats.kubernetes import labels, record_secrets
from peitho.formats.records import ContainerSpec, Exit
from peitho.settings.live import Live
from tests.support import operated
from tests.support.archives import archive_bytes, file
from tests.support.contexts import chunks, context
from tests.support.in_process import Running, listening, running

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
ID = "a" * 64
PAGES = ("/", "/status/chaincode", "/status/builds", "/status/images", "/status/checks")


async def get(peitho: Running, path: str) -> tuple[int, str]:
    """Status and text."""
    async with peitho.http.get(peitho.operations + path) as response:
        return response.status, await response.text()


async def with_chaincode(peitho: Running, *, name: str = "dev-peer0-mycc-1.0") -> None:
    """Have the watch know one that has ended; all that others choose is `name`."""
    end = Exit(3, f"OOMKilled {EVIL}", operated.AT, f"first\n{EVIL} last")
    secret = operated.add(peitho.cluster, "dev-peer0-mycc-1.0", ID, end=end)
    secret["metadata"]["annotations"] |= {
        labels.NAME: name,
        labels.IMAGE: EVIL,
        labels.PEER: EVIL,
        labels.ASKED_LABELS: '{"key": "<script>alert(3)</script>"}',
    }
    secret["metadata"]["labels"] |= {labels.PACKAGE_ID: EVIL, labels.MSP_ID: EVIL}
    await peitho.services.record_watch.synced.wait()
    peitho.services.record_watch.take("ADDED", record_secrets.read_metadata(secret))


async def begun(peitho: Running, spec: ContainerSpec) -> str:
    """The ID of a build whose command has said something."""
    build = peitho.services.builds.create(spec, peer="10.0.0.7")
    source = archive_bytes([file("main.go", b"package main")], compression="gz")
    await build.put_archive("/chaincode/input", chunks(source))
    peitho.services.builds.tasks.spawn(build.start(), name="start")
    await peitho.cluster.until_asked("POST", "pods")
    run = peitho.services.builds.pool.get(build.id)
    await run.append_output(chunks(streams.frame(STDOUT, f"one\n{EVIL}\n".encode())))
    return build.id


async def test_an_empty_peitho_has_all_pages(tmp_path: Path) -> None:
    """
    With headers that keep scripts, frames and caches away; nothing comes from elsewhere.
    """
    async with running(tmp_path) as peitho:
        for path in PAGES:
            async with peitho.http.get(peitho.operations + path) as response:
                text = await response.text()
            assert 200 == response.status
            assert HEADERS.items() <= dict(response.headers).items()
            assert "http:" not in text
            assert "https:" not in text
            assert " style=" not in text
            assert 1 == text.count("<h1>")
            assert 1 == text.count('href="#main"')
        assert 404 == (await get(peitho, "/status/chaincode/abcd"))[0]
        assert 404 == (await get(peitho, "/status/builds/abcd"))[0]
        assert 404 == (await get(peitho, "/status/builds/abcd/log"))[0]
        for name in ("page.css", "page.js", "icon.svg"):
            assert 200 == (await get(peitho, f"/status/{name}"))[0]


async def test_nothing_that_others_choose_becomes_markup(tmp_path: Path) -> None:
    """
    Names, images, peers, MSP IDs, labels, reasons, last lines, and what builds say.
    """
    spec = ContainerSpec(image=EVIL, command=("go",), entrypoint=(), env=("SECRET=planted",))
    async with running(tmp_path) as peitho:
        await with_chaincode(peitho, name=EVIL)
        await peitho.services.images.build("mycc", chunks(context()))
        build_id = await begun(peitho, spec)
        places = (*PAGES, f"/status/chaincode/{ID}", f"/status/builds/{build_id}")
        texts = [(await get(peitho, path))[1] for path in places]

    for text in texts:
        assert 1 == text.count("<script")  # our own
        assert "<img" not in text
        assert "planted" not in text
    assert all("&lt;script&gt;alert(1)" in text for text in (texts[0], texts[1], *texts[5:]))
    assert "&lt;script&gt;alert(3)" in texts[5]


async def test_chaincode_is_told_with_its_end(tmp_path: Path) -> None:
    """
    Reason, exit code and last lines; the cluster is asked for nothing when somebody looks.
    """
    async with running(tmp_path) as peitho:
        await with_chaincode(peitho)
        asked = len([each for each in peitho.cluster.requests if each[0] != "WATCH"])
        told = [(await get(peitho, path))[1] for path in ("/", f"/status/chaincode/{ID}")]
        phase = (await get(peitho, "/status/chaincode?phase=running"))[1]
        later = len([each for each in peitho.cluster.requests if each[0] != "WATCH"])

    for text in told:
        assert "OOMKilled" in text
        assert "first\n" in text
        assert "exited" in text
    assert ID not in phase
    assert asked == later


async def test_a_builds_log_is_read_on(tmp_path: Path) -> None:
    """
    From the byte that comes next; whatever else is asked for is answered, too.
    """
    spec = ContainerSpec(image="ccenv", command=("go",), entrypoint=(), env=())
    async with running(tmp_path) as peitho:
        build_id = await begun(peitho, spec)
        path = f"{peitho.operations}/status/builds/{build_id}/log"
        async with peitho.http.get(f"{path}?from=4") as response:
            said = await response.read()
        async with peitho.http.get(f"{path}?from=-x") as other:
            whole = await other.read()
        page = (await get(peitho, f"/status/builds/{build_id}"))[1]
        run = peitho.services.builds.pool.get(build_id)
        run.set_exit_code(1)
        await run.over.wait()
        async with peitho.http.get(path) as over:
            assert "1" == over.headers["Peitho-Over"]
        ended = (await get(peitho, "/status/builds"))[1]

    assert f"{EVIL}\n".encode() == said
    assert f"one\n{EVIL}\n".encode() == whole
    assert str(len(whole)) == response.headers["Peitho-Next"]
    assert "4" == response.headers["Peitho-From"]
    assert "text/plain; charset=utf-8" == response.headers["Content-Type"]
    assert f'data-next="{len(whole)}"' in page
    assert "failed</span> 1" in ended


async def test_only_who_has_the_token_reads_and_probes_need_none(tmp_path: Path) -> None:
    """
    Prometheus and the kubelet are answered as before.
    """
    token = tmp_path / "token"
    token.write_text("s3cret")
    page = PageParts(Live(PageAccess(token, is_open=False)))
    async with (
        running(tmp_path) as peitho,
        listening(health.application(peitho.services, page=page)) as url,
    ):
        for path in (*PAGES, "/status/page.js"):
            async with peitho.http.get(url + path) as response:
                assert 401 == response.status
                assert response.headers["WWW-Authenticate"].startswith("Basic ")
            headers = {"Authorization": "Bearer s3cret"}
            async with peitho.http.get(url + path, headers=headers) as response:
                assert 200 == response.status
        for path in ("/metrics", "/livez", "/readyz", "/healthz"):
            async with peitho.http.get(url + path) as response:
                assert 200 == response.status


@pytest.mark.parametrize("rows", [130])
async def test_a_long_list_is_cut_into_pages(tmp_path: Path, rows: int) -> None:
    """
    Of fifty rows each, with links.
    """
    async with running(tmp_path) as peitho:
        await peitho.services.record_watch.synced.wait()
        for number in range(rows):
            secret = operated.add(peitho.cluster, f"dev-cc{number:03}-1", f"{number:064x}")
            peitho.services.record_watch.take("ADDED", record_secrets.read_metadata(secret))
        first = (await get(peitho, "/status/chaincode"))[1]
        last = (await get(peitho, "/status/chaincode?page=3"))[1]

    assert 50 == first.count('scope="row"')
    assert 30 == last.count('scope="row"')
    assert 'href="../status/chaincode?page=2"' in first
    assert "Page 3 of 3" in last


async def test_too_many_at_once_are_told_to_come_again(tmp_path: Path) -> None:
    """
    And keep nobody from metrics.
    """
    going = asyncio.Event()

    async def parts() -> list[str]:
        await going.wait()
        return []

    async with running(tmp_path) as peitho:
        app = web.Application()
        app.add_routes(StatusPage({"default": peitho.services}, parts=parts).routes())
        async with listening(app) as url, asyncio.TaskGroup() as group:

            async def ask() -> int:
                async with peitho.http.get(f"{url}/status/checks") as response:
                    return response.status

            tasks = [group.create_task(ask()) for _ in range(16)]
            for _ in range(1000):
                if await ask_once(peitho, f"{url}/status/page.css") == 503:
                    break
                await asyncio.sleep(0.01)
            going.set()

    assert [200] * 16 == [task.result() for task in tasks]


async def ask_once(peitho: Running, url: str) -> int:
    """A status."""
    async with peitho.http.get(url) as response:
        return response.status


async def test_what_checks_found_is_told_with_what_to_do(tmp_path: Path) -> None:
    """
    What is wrong comes first.
    """
    found = [Found("a", "ok", "well"), Found("rights", "wrong", EVIL, "apply the Role")]
    page = PageParts(checked=lambda: Checked(found, 1.0))
    async with (
        running(tmp_path) as peitho,
        listening(health.application(peitho.services, page=page, is_open=True)) as url,
        peitho.http.get(f"{url}/status/checks") as response,
    ):
        text = await response.text()

    assert text.index("apply the Role") < text.index(">well<")
    assert "<td" in text
    assert "open to whoever reaches it" in text
    assert "<img" not in text
