import base64
import json
from pathlib import Path

import pytest

from peitho.core.builds.container import BuildContainer
from peitho.formats.records import ContainerSpec, Exit
from tests.support.archives import archive_bytes, file
from tests.support.contexts import chunks, package
from tests.support.in_process import Running, running
from tests.support.wire import wire

SPEC = ContainerSpec(image="ccenv", command=("go", "build"), entrypoint=(), env=())
SOURCE = archive_bytes([file("src/main.go", b"package main")], compression="gz")
OUTPUT = "?path=%2Fchaincode%2Foutput%2F."


def build(peitho: Running) -> BuildContainer:
    """A build that was created."""
    return peitho.services.builds.create(SPEC)


async def put(
    peitho: Running, container: BuildContainer, query: str, body: bytes
) -> tuple[int, str]:
    """Upload an archive; status and message."""
    status, answer, _ = await peitho.ask(
        "PUT", f"/containers/{container.id}/archive{query}", body=body
    )
    return status, json.loads(answer)["message"] if answer else ""


async def test_an_upload_is_kept_as_it_came(tmp_path: Path) -> None:
    """
    For the path it was sent to, until the Pod fetches it.
    """
    async with running(tmp_path) as peitho:
        container = build(peitho)
        assert (200, "") == await put(peitho, container, "?path=%2Fchaincode%2Finput", SOURCE)

        (upload,) = container.uploads
        assert "/chaincode/input" == upload.path
        assert SOURCE == upload.archive.read_bytes()


async def test_an_archive_may_be_larger_than_a_body_that_is_read_whole(tmp_path: Path) -> None:
    """
    It is a stream, and the limit of such bodies is not its.
    """
    large = archive_bytes([file("src/main.go", bytes(2 * 1024 * 1024))])
    async with running(tmp_path) as peitho:
        assert (200, "") == await put(peitho, build(peitho), "?path=/a", large)


BAD_UPLOADS = (
    ("", SOURCE, "the query parameter 'path' is missing"),
    ("?path=", SOURCE, "the query parameter 'path' is missing"),
    ("?path=input", SOURCE, "the path 'input' must be absolute"),
    ("?path=/a/../b", SOURCE, "must be absolute, without `..`"),
    ("?path=/a", b"no tar", "not a whole tar archive"),
    ("?path=/a", b"", "not a whole tar archive"),
    ("?path=/a", SOURCE[:60], "not a whole tar archive"),
    ("?path=/a", archive_bytes([file("../evil")]), "'../evil' leaves the target"),
)


async def test_an_upload_that_cannot_be_is_400_and_not_kept(tmp_path: Path) -> None:
    """
    Refused when it is sent, not when a Pod fetches it.
    """
    async with running(tmp_path) as peitho:
        container = build(peitho)
        for query, body, message in BAD_UPLOADS:
            status, said = await put(peitho, container, query, body)

            assert 400 == status, query
            assert message in said
            assert [] == container.uploads
    assert [] == list((tmp_path / "data/spool").glob("*/upload-*"))


async def test_an_upload_that_is_cut_by_its_peer_is_not_kept(tmp_path: Path) -> None:
    """
    A connection that ends in the middle of a body.
    """
    async with running(tmp_path) as peitho:
        container = build(peitho)
        async with wire(peitho.api) as peer:
            peer.send(
                "PUT",
                f"/containers/{container.id}/archive?path=/a",
                headers=f"Content-Length: {len(SOURCE)}\r\n",
                body=SOURCE[:50],
            )
            peer.half_close()
            await peer.rest()

        assert [] == container.uploads


async def test_the_output_of_a_build_is_downloaded_with_its_stat(tmp_path: Path) -> None:
    """
    The newest clients demand the header; HEAD has it too.
    """
    async with running(tmp_path) as peitho:
        container = build(peitho)
        run = await peitho.begun(container)
        run.end(Exit(0))
        await peitho.services.builds.pool.save_result(run, chunks(package()), "amd64")
        path = f"/containers/{container.id}/archive{OUTPUT}"
        status, body, headers = await peitho.ask("GET", path)
        head, nothing, head_headers = await peitho.ask("HEAD", path)

    stat = json.loads(base64.b64decode(headers["X-Docker-Container-Path-Stat"]))
    assert (200, package(), "application/x-tar") == (status, body, headers["Content-Type"])
    assert (".", "", {"name", "size", "mode", "mtime", "linkTarget"}) == (
        stat["name"],
        stat["linkTarget"],
        set(stat),
    )
    assert 0x800001ED == stat["mode"]
    assert (200, b"") == (head, nothing)
    assert "X-Docker-Container-Path-Stat" in head_headers


@pytest.mark.parametrize(
    ("query", "ended", "status", "message"),
    [
        ("?path=/etc/passwd", True, 404, "Could not find the file /etc/passwd in container"),
        (OUTPUT, False, 409, "has not ended: its output is not complete"),
        ("", True, 400, "'path' is missing"),
    ],
)
async def test_a_download_that_cannot_be_is_told(
    tmp_path: Path, query: str, *, ended: bool, status: int, message: str
) -> None:
    """
    Another path, too early, or no path at all.
    """
    async with running(tmp_path) as peitho:
        container = build(peitho)
        if ended:
            (await peitho.begun(container)).end(Exit(0))
        found, body, _ = await peitho.ask("GET", f"/containers/{container.id}/archive{query}")

    assert status == found
    assert message in json.loads(body)["message"]
