import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from peitho.clients.disk.build_cache import BuildCache, KeptBuild
from peitho.core.builds.container import BuildContainer
from peitho.core.container import OutputOptions
from peitho.core.pods.tokens import blob_scope, build_scope
from peitho.formats.docker import streams
from peitho.formats.docker.streams import STDOUT
from peitho.formats.records import ContainerSpec
from tests.support.archives import archive_bytes, file
from tests.support.contexts import chunks, context, package
from tests.support.damage import changed
from tests.support.in_process import Running, running

SPEC = ContainerSpec(image="ccenv", command=("go", "build"), entrypoint=(), env=())
SOURCE = archive_bytes([file("src/main.go", b"package main")], compression="gz")
ZEROS = "sha256:" + "0" * 64


async def call(
    peitho: Running, method: str, path: str, scope: str | None, *, body: bytes | None = None
) -> tuple[int, bytes]:
    """A Pod's call, with the token of a scope if one is given."""
    token = peitho.services.tokens.issue(scope) if scope is not None else ""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = f"{peitho.delivery}{path}"
    async with peitho.http.request(method, url, headers=headers, data=body) as response:
        return response.status, await response.read()


async def build(peitho: Running) -> BuildContainer:
    """A build that has an upload, and was started."""
    made = peitho.services.builds.create(SPEC)
    await made.put_archive("/chaincode/input", chunks(SOURCE))
    await peitho.begun(made)
    return made


async def test_a_blob_is_given_for_its_own_token(tmp_path: Path) -> None:
    """
    Byte for byte.
    """
    async with running(tmp_path) as peitho:
        layer = (await peitho.services.images.build("mycc", chunks(context()))).image.layer
        path = peitho.services.storage.blob(layer)
        assert path is not None

        assert (200, path.read_bytes()) == await call(
            peitho, "GET", f"/blobs/{layer}", blob_scope(layer)
        )


async def test_another_token_opens_nothing_and_tells_nothing(tmp_path: Path) -> None:
    """
    Whether the thing exists or not, the answer is the same.
    """
    async with running(tmp_path) as peitho:
        layer = (await peitho.services.images.build("mycc", chunks(context()))).image.layer
        made = await build(peitho)
        answers = {
            await call(peitho, method, path, scope, body=None if method == "GET" else b"0")
            for method, path in (
                ("GET", f"/blobs/{layer}"),
                ("GET", f"/blobs/{ZEROS}"),
                ("GET", f"/builds/{made.id}"),
                ("GET", f"/builds/{made.id}/uploads/0"),
                ("GET", f"/builds/{made.id}/compiled"),
                ("POST", f"/builds/{made.id}/log"),
                ("PUT", f"/builds/{made.id}/exit"),
                ("PUT", f"/builds/{made.id}/result"),
                ("GET", f"/builds/{'0' * 64}"),
            )
            for scope in (None, blob_scope("other"), build_scope("other"))
        }

    assert 1 == len(answers)
    status, body = answers.pop()
    assert 403 == status
    assert {"message": "this token does not open this"} == json.loads(body)


@pytest.mark.parametrize("header", ["", "Basic x", "Bearer", "bearer x", "Bearer é"])
async def test_what_is_no_token_is_403(tmp_path: Path, header: str) -> None:
    """
    Whatever is in the header.
    """
    async with running(tmp_path) as peitho:
        url = f"{peitho.delivery}/blobs/{ZEROS}"
        async with peitho.http.get(url, headers={"Authorization": header}) as response:
            assert 403 == response.status


async def test_what_is_gone_is_404_for_its_token(tmp_path: Path) -> None:
    """
    A build that was removed, a blob that was never there.
    """
    async with running(tmp_path) as peitho:
        made = await build(peitho)
        await made.remove()

        assert 404 == (await call(peitho, "GET", f"/builds/{made.id}", build_scope(made.id)))[0]
        assert 404 == (await call(peitho, "GET", f"/blobs/{ZEROS}", blob_scope(ZEROS)))[0]


async def test_a_helper_is_told_what_to_fetch(tmp_path: Path) -> None:
    """
    The archives are as the peer sent them, in their order.
    """
    async with running(tmp_path) as peitho:
        made = await build(peitho)
        scope = build_scope(made.id)
        _, about = await call(peitho, "GET", f"/builds/{made.id}", scope)
        upload = await call(peitho, "GET", f"/builds/{made.id}/uploads/0", scope)
        none = await call(peitho, "GET", f"/builds/{made.id}/uploads/1", scope)

    assert {
        "uploads": [{"number": 0, "path": "/chaincode/input"}],
        "output": "/chaincode/output",
        "compiled": True,
    } == json.loads(about)
    assert (200, SOURCE) == upload
    assert 404 == none[0]


async def test_a_helper_is_given_what_was_compiled_before(tmp_path: Path) -> None:
    """
    404 until there is something; then it is there, byte for byte.
    """
    async with running(tmp_path) as peitho:
        made = await build(peitho)
        run, directory = peitho.services.builds.pool.get(made.id), tmp_path / "made"
        scope, path = build_scope(made.id), f"/builds/{made.id}/compiled"
        status, body = await call(peitho, "GET", path, scope)
        assert (404, {"message": "Nothing was compiled before for ccenv"}) == (
            status,
            json.loads(body),
        )

        directory.mkdir()
        for name in ("log", "result"):
            (directory / name).write_bytes(SOURCE)
        digest = hashlib.sha256(SOURCE).hexdigest()
        cache = BuildCache(tmp_path / "data/builds")
        cache.keep(run.compiled_key, KeptBuild(digest, "amd64", "ccenv", 1.0, 0.0), directory)
        assert (200, SOURCE) == await call(peitho, "GET", path, scope)
        assert (200, SOURCE) == await call(peitho, "GET", path, scope)


async def test_what_a_helper_tells_is_what_peers_read(tmp_path: Path) -> None:
    """
    Output, exit code, and the result with its architecture.
    """
    async with running(tmp_path) as peitho:
        made = await build(peitho)
        scope, path = build_scope(made.id), f"/builds/{made.id}"
        said = streams.frame(STDOUT, b"Done!\n")
        assert (200, b"") == await call(peitho, "POST", f"{path}/log", scope, body=said)
        assert (200, b"") == await call(peitho, "PUT", f"{path}/exit", scope, body=b"0")
        assert (200, b"") == await call(
            peitho, "PUT", f"{path}/result?architecture=arm64", scope, body=package()
        )

        assert 0 == (await made.wait()).exit_code
        assert [(STDOUT, b"Done!\n")] == [
            each async for each in made.output(OutputOptions(follow=True))
        ]
        assert package() == (await made.get_archive("/chaincode/output/.")).file.read_bytes()
        image = (await peitho.services.images.build("mycc", chunks(context()))).image
        assert "arm64" == image.architecture


@pytest.mark.parametrize("text", [b"", b"-1", b"256", b"1.5", b"x", b"0x1", b"9" * 50])
async def test_what_is_no_exit_code_is_400(tmp_path: Path, text: bytes) -> None:
    """
    The build is not ended by it.
    """
    async with running(tmp_path) as peitho:
        made = await build(peitho)
        path = f"/builds/{made.id}/exit"
        status, _ = await call(peitho, "PUT", path, build_scope(made.id), body=text)

        assert 400 == status
        assert "running" == made.summary().state.status


async def test_an_exit_code_is_read_after_the_token(tmp_path: Path) -> None:
    """
    Whoever has no right is told so, whatever the body is.
    """
    async with running(tmp_path) as peitho:
        made = await build(peitho)

        assert 403 == (await call(peitho, "PUT", f"/builds/{made.id}/exit", None))[0]


@pytest.mark.parametrize("damage", ["rotten", "cut", "gone"])
async def test_a_damaged_blob_is_404_and_its_image_is_built_anew(
    tmp_path: Path, damage: str
) -> None:
    """
    No byte of it is sent, and an image with another layer is as before.
    """
    async with running(tmp_path) as peitho:
        images = peitho.services.images
        layer = (await images.build("mycc", chunks(context()))).image.layer
        other = context(binpackage=package(b"other"))
        sound = (await images.build("other", chunks(other))).image.layer
        path = peitho.services.storage.blob(layer)
        assert path is not None
        content, before = path.read_bytes(), path.stat()
        if damage == "gone":
            path.unlink()
        else:
            path.write_bytes(content[:-1] if damage == "cut" else b"x" + content[1:])
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

        asked = await call(peitho, "GET", f"/blobs/{layer}", blob_scope(layer))
        assert (404, {"message": f"No such blob: {layer}"}) == (asked[0], json.loads(asked[1]))
        assert 404 == (await peitho.ask("GET", "/images/mycc/json"))[0]
        assert 200 == (await peitho.ask("GET", "/images/other/json"))[0]
        assert 200 == (await call(peitho, "GET", f"/blobs/{sound}", blob_scope(sound)))[0]

        assert 200 == (await peitho.ask("POST", "/build?t=mycc", body=context()))[0]
        assert (200, content) == await call(peitho, "GET", f"/blobs/{layer}", blob_scope(layer))


async def test_without_the_data_directory_a_blob_is_500(tmp_path: Path) -> None:
    """
    It may be back soon, so it is not told as gone.
    """
    async with running(tmp_path) as peitho:
        shutil.rmtree(tmp_path / "data")
        status, body = await call(peitho, "GET", f"/blobs/{ZEROS}", blob_scope(ZEROS))

    assert 500 == status
    assert "The data directory cannot be used" in json.loads(body)["message"]


@pytest.mark.parametrize(
    ("place", "flip"), [(0.0, 0), (0.3, 0), (0.999, 0), (0.0, 1), (0.3, 0x80), (0.999, 1)]
)
async def test_whatever_file_is_damaged_all_else_is_as_before(
    tmp_path: Path, place: float, flip: int
) -> None:
    """
    Each in turn, flipped or cut (0): what it was of is whole or not there, and is made anew.
    """
    async with running(tmp_path) as peitho:
        packages = {"one": package(b"one"), "two": package(b"two")}
        for name, made in packages.items():
            await image(peitho, name, made)
        stored = [
            path.relative_to(tmp_path)
            for folder in ("blobs", "images")
            for path in sorted((tmp_path / "data" / folder).rglob("*"))
            if path.is_file()
        ]
        assert 4 == len(stored)
        for path in stored:
            content = (tmp_path / path).read_bytes()
            (tmp_path / path).write_bytes(changed(content, place, flip))

            there = [name for name in packages if await is_whole(peitho, name)]
            assert 1 == len(there)
            assert f"{there[0]}:latest" in json.dumps(await listed(peitho))

            for name, made in packages.items():
                await image(peitho, name, made)
                assert await is_whole(peitho, name)


async def image(peitho: Running, name: str, made: bytes) -> None:
    """An image that a peer builds."""
    body = context(binpackage=made)
    assert 200 == (await peitho.ask("POST", f"/build?t={name}", body=body))[0]


async def is_whole(peitho: Running, name: str) -> bool:
    """Whether an image is told as there; then its layer is given, byte for byte."""
    if 404 == (await peitho.ask("GET", f"/images/{name}/json"))[0]:
        return False
    layer = peitho.services.images.get(name).layer
    status, content = await call(peitho, "GET", f"/blobs/{layer}", blob_scope(layer))
    assert (200, layer) == (status, f"sha256:{hashlib.sha256(content).hexdigest()}")
    return True


async def listed(peitho: Running) -> object:
    """The images, as a peer lists them."""
    status, body, _ = await peitho.ask("GET", "/images/json")
    assert 200 == status
    return json.loads(body)
