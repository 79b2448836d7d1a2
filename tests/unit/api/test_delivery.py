import asyncio
import dataclasses
import hashlib
import json
import os
import shutil
import ssl
import time
from contextlib import nullcontext
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
import structlog.testing

from peitho.clients.authority import Authority
from peitho.clients.disk.build_cache import BuildCache, KeptBuild
from peitho.core.builds.container import BuildContainer
from peitho.core.container import OutputOptions
from peitho.core.pods.tokens import DeliveryTokens, Holder, blob_scope, build_scope
from peitho.formats.docker import streams
from peitho.formats.docker.streams import STDOUT
from peitho.formats.kubernetes import names
from peitho.formats.records import ContainerSpec
from peitho.pod.calls import PeithoClient
from tests.support.archives import archive_bytes, file
from tests.support.contexts import chunks, context, package
from tests.support.damage import changed
from tests.support.in_process import Running, running
from tests.support.kubernetes_double import always, refusal
from tests.support.launches import LATER_SECONDS

SPEC = ContainerSpec(image="ccenv", command=("go", "build"), entrypoint=(), env=())
SOURCE = archive_bytes([file("src/main.go", b"package main")], compression="gz")
ZEROS = "sha256:" + "0" * 64


async def call(
    peitho: Running, method: str, path: str, token: str, *, body: bytes | None = None
) -> tuple[int, bytes]:
    """A Pod's call, with its token if it has one."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = f"{peitho.delivery}{path}"
    async with peitho.http.request(method, url, headers=headers, data=body) as response:
        return response.status, await response.read()


def helpers(peitho: Running, made: BuildContainer) -> str:
    """The token of a build's helper."""
    holder = Holder(names.build_name(made.id), made.id)
    return peitho.services.tokens.issue(build_scope(made.id), holder)


async def pullers(peitho: Running, layer: str, *, image: str = "mycc") -> str:
    """The token of the puller of a chaincode that is created from an image, of this layer."""
    name = f"dev-peer0-{image}"
    spec = dataclasses.replace(SPEC, image=image)
    created = await peitho.services.containers.create(name, spec)
    holder = Holder(names.kubernetes_name("cc", name), created.id)
    return peitho.services.tokens.issue(blob_scope(layer), holder)


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
        token = await pullers(peitho, layer)

        assert (200, path.read_bytes()) == await call(peitho, "GET", f"/blobs/{layer}", token)


async def test_another_token_opens_nothing_and_tells_nothing(tmp_path: Path) -> None:
    """
    Whether the thing exists or not, the answer is the same.
    """
    async with running(tmp_path) as peitho:
        layer = (await peitho.services.images.build("mycc", chunks(context()))).image.layer
        made = await build(peitho)
        others = DeliveryTokens(peitho.services.storage.delivery_key(), "others")
        holder = Holder(names.build_name(made.id), made.id)
        tokens = {
            "none": "",
            "of an earlier version": "ab" * 32,
            "of another layer": await pullers(peitho, ZEROS),
            "of another build": peitho.services.tokens.issue(build_scope("other"), holder),
            "of another's container": helpers(peitho, made).replace(made.id, "0" * 64),
            "of another tenant": others.issue(build_scope(made.id), holder),
            "of another tenant, renamed": others.issue(build_scope(made.id), holder).replace(
                "others.", "default."
            ),
            "of another key": DeliveryTokens(b"j" * 32).issue(build_scope(made.id), holder),
        }
        answers = {
            await call(peitho, method, path, token, body=None if method == "GET" else b"0")
            for method, path in (
                ("GET", f"/blobs/{layer}"),
                ("GET", f"/blobs/{'1' * 64}"),
                ("GET", f"/builds/{made.id}"),
                ("GET", f"/builds/{made.id}/uploads/0"),
                ("GET", f"/builds/{made.id}/compiled"),
                ("POST", f"/builds/{made.id}/log"),
                ("PUT", f"/builds/{made.id}/exit"),
                ("PUT", f"/builds/{made.id}/result"),
                ("GET", f"/builds/{'0' * 64}"),
            )
            for token in tokens.values()
        }

    assert 1 == len(answers)
    status, body = answers.pop()
    assert 403 == status
    assert {"message": "this token does not open this"} == json.loads(body)


async def test_what_is_no_token_is_403(tmp_path: Path) -> None:
    """
    Whatever is in the header.
    """
    async with running(tmp_path) as peitho:
        url = f"{peitho.delivery}/blobs/{ZEROS}"
        for header in ("", "Basic x", "Bearer", "bearer x", "Bearer é"):
            async with peitho.http.get(url, headers={"Authorization": header}) as response:
                assert 403 == response.status, header


async def test_a_token_ends_with_its_build(tmp_path: Path) -> None:
    """
    Nothing of a build that was removed is given, or taken.
    """
    async with running(tmp_path) as peitho:
        made = await build(peitho)
        token = helpers(peitho, made)
        assert 200 == (await call(peitho, "GET", f"/builds/{made.id}", token))[0]
        await made.remove()

        for method, path in (("GET", ""), ("GET", "/uploads/0"), ("PUT", "/result")):
            asked = await call(peitho, method, f"/builds/{made.id}{path}", token)
            assert 403 == asked[0]
            assert "this token has ended" in json.loads(asked[1])["message"]


async def test_a_token_ends_with_its_container(tmp_path: Path) -> None:
    """
    Of two chaincodes of one layer, each has its own; one that has the name again has another.
    """
    async with running(tmp_path) as peitho:
        layer = (await peitho.services.images.build("mycc", chunks(context()))).image.layer
        await peitho.services.images.build("other", chunks(context()))
        token, other = await pullers(peitho, layer), await pullers(peitho, layer, image="other")
        await (await peitho.services.containers.get("dev-peer0-mycc")).remove()

        asked = await call(peitho, "GET", f"/blobs/{layer}", token)
        assert 403 == asked[0]
        assert "this token has ended" in json.loads(asked[1])["message"]
        assert 200 == (await call(peitho, "GET", f"/blobs/{layer}", other))[0]

        again = await pullers(peitho, layer)
        assert 200 == (await call(peitho, "GET", f"/blobs/{layer}", again))[0]
        assert 403 == (await call(peitho, "GET", f"/blobs/{layer}", token))[0]


async def test_while_the_cluster_is_away_a_puller_is_to_try_again(tmp_path: Path) -> None:
    """
    Whether its container is there is not known then: that is neither 200 nor a refusal.
    """
    async with running(tmp_path) as peitho:
        layer = (await peitho.services.images.build("mycc", chunks(context()))).image.layer
        token = await pullers(peitho, layer)
        secret = names.kubernetes_name("cc", "dev-peer0-mycc")
        peitho.cluster.rule("GET", f"secrets/{secret}", always(lambda: refusal(503, "", "away")))
        peitho.cluster.refuse_to_tell_of_secrets()
        await asyncio.sleep(LATER_SECONDS)

        assert 500 <= (await call(peitho, "GET", f"/blobs/{layer}", token))[0]


async def test_a_blob_that_was_never_there_is_404(tmp_path: Path) -> None:
    """
    For who may ask.
    """
    async with running(tmp_path) as peitho:
        await peitho.services.images.build("mycc", chunks(context()))
        token = await pullers(peitho, ZEROS)

        assert 404 == (await call(peitho, "GET", f"/blobs/{ZEROS}", token))[0]


async def test_a_helper_is_told_what_to_fetch(tmp_path: Path) -> None:
    """
    The archives are as the peer sent them, in their order.
    """
    async with running(tmp_path) as peitho:
        made = await build(peitho)
        token = helpers(peitho, made)
        _, about = await call(peitho, "GET", f"/builds/{made.id}", token)
        upload = await call(peitho, "GET", f"/builds/{made.id}/uploads/0", token)
        none = await call(peitho, "GET", f"/builds/{made.id}/uploads/1", token)

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
        token, path = helpers(peitho, made), f"/builds/{made.id}/compiled"
        status, body = await call(peitho, "GET", path, token)
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
        assert (200, SOURCE) == await call(peitho, "GET", path, token)
        assert (200, SOURCE) == await call(peitho, "GET", path, token)


async def test_what_a_helper_tells_is_what_peers_read(tmp_path: Path) -> None:
    """
    Output, exit code, and the result with its architecture.
    """
    async with running(tmp_path) as peitho:
        made = await build(peitho)
        token, path = helpers(peitho, made), f"/builds/{made.id}"
        said = streams.frame(STDOUT, b"Done!\n")
        assert (200, b"") == await call(peitho, "POST", f"{path}/log", token, body=said)
        assert (200, b"") == await call(peitho, "PUT", f"{path}/exit", token, body=b"0")
        assert (200, b"") == await call(
            peitho, "PUT", f"{path}/result?architecture=arm64", token, body=package()
        )

        assert 0 == (await made.wait()).exit_code
        assert [(STDOUT, b"Done!\n")] == [
            each async for each in made.output(OutputOptions(follow=True))
        ]
        assert package() == (await made.get_archive("/chaincode/output/.")).file.read_bytes()
        image = (await peitho.services.images.build("mycc", chunks(context()))).image
        assert "arm64" == image.architecture


async def test_a_result_of_no_architecture_that_can_be_is_400(tmp_path: Path) -> None:
    """
    Nothing of it is kept.
    """
    async with running(tmp_path) as peitho:
        made = await build(peitho)
        path = f"/builds/{made.id}/result?architecture=%20"
        status, _ = await call(peitho, "PUT", path, helpers(peitho, made), body=b"tar")

        assert 400 == status


async def test_what_is_no_exit_code_is_400(tmp_path: Path) -> None:
    """
    The build is not ended by it.
    """
    async with running(tmp_path) as peitho:
        made = await build(peitho)
        path = f"/builds/{made.id}/exit"
        for text in (b"", b"-1", b"256", b"1.5", b"x", b"0x1", b"9" * 50):
            status, _ = await call(peitho, "PUT", path, helpers(peitho, made), body=text)
            assert 400 == status, text

        assert "running" == made.summary().state.status


async def test_an_exit_code_is_read_after_the_token(tmp_path: Path) -> None:
    """
    Whoever has no right is told so, whatever the body is.
    """
    async with running(tmp_path) as peitho:
        made = await build(peitho)

        assert 403 == (await call(peitho, "PUT", f"/builds/{made.id}/exit", ""))[0]


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
        token = await pullers(peitho, layer)
        others = await pullers(peitho, sound, image="other")
        content, before = path.read_bytes(), path.stat()
        if damage == "gone":
            path.unlink()
        else:
            path.write_bytes(content[:-1] if damage == "cut" else b"x" + content[1:])
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

        asked = await call(peitho, "GET", f"/blobs/{layer}", token)
        assert (404, {"message": f"No such blob: {layer}"}) == (asked[0], json.loads(asked[1]))
        assert 404 == (await peitho.ask("GET", "/images/mycc/json"))[0]
        assert 200 == (await peitho.ask("GET", "/images/other/json"))[0]
        assert 200 == (await call(peitho, "GET", f"/blobs/{sound}", others))[0]

        assert 200 == (await peitho.ask("POST", "/build?t=mycc", body=context()))[0]
        assert (200, content) == await call(peitho, "GET", f"/blobs/{layer}", token)


async def test_without_the_data_directory_a_blob_is_500(tmp_path: Path) -> None:
    """
    It may be back soon, so it is not told as gone.
    """
    async with running(tmp_path) as peitho:
        await peitho.services.images.build("mycc", chunks(context()))
        token = await pullers(peitho, ZEROS)
        shutil.rmtree(tmp_path / "data")
        status, body = await call(peitho, "GET", f"/blobs/{ZEROS}", token)

    assert 500 == status
    assert "The data directory cannot be used" in json.loads(body)["message"]


@pytest.mark.parametrize(("place", "flip"), [(0.0, 0), (0.999, 0), (0.3, 0x80)])
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
        tokens = {
            name: await pullers(peitho, peitho.services.images.get(name).layer, image=name)
            for name in packages
        }
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

            there = [name for name in packages if await is_whole(peitho, name, tokens[name])]
            assert 1 == len(there)
            assert f"{there[0]}:latest" in json.dumps(await listed(peitho))

            for name, made in packages.items():
                await image(peitho, name, made)
                assert await is_whole(peitho, name, tokens[name])


async def image(peitho: Running, name: str, made: bytes) -> None:
    """An image that a peer builds."""
    body = context(binpackage=made)
    assert 200 == (await peitho.ask("POST", f"/build?t={name}", body=body))[0]


async def is_whole(peitho: Running, name: str, token: str) -> bool:
    """Whether an image is told as there; then its layer is given, byte for byte."""
    if 404 == (await peitho.ask("GET", f"/images/{name}/json"))[0]:
        return False
    layer = peitho.services.images.get(name).layer
    status, content = await call(peitho, "GET", f"/blobs/{layer}", token)
    assert (200, layer) == (status, f"sha256:{hashlib.sha256(content).hexdigest()}")
    return True


async def listed(peitho: Running) -> object:
    """The images, as a peer lists them."""
    status, body, _ = await peitho.ask("GET", "/images/json")
    assert 200 == status
    return json.loads(body)


async def test_plain_http_is_closed_and_told(tmp_path: Path) -> None:
    """
    Whatever token it has, which comes to no log.
    """
    async with running(tmp_path) as peitho:
        made = await build(peitho)
        token = helpers(peitho, made)
        with structlog.testing.capture_logs() as told:
            address = urlsplit(peitho.delivery)
            reader, writer = await asyncio.open_connection(address.hostname, address.port)
            head = f"GET /builds/{made.id} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
            writer.write(head.encode() + b"\r\n")
            said = await reader.read()
            writer.close()

    assert said.startswith(b"HTTP/1.0 400 Bad Request")
    assert b"Client sent an HTTP request to an HTTPS server" in said
    assert made.id.encode() not in said
    (event,) = [each for each in told if each["event"] == "tls handshake failed"]
    assert "it spoke plain HTTP, which is not answered here" == event["cause"]
    assert ("127.0.0.1", address.port) == (event["peer"], event["port"])
    assert token not in str(told)


@pytest.mark.parametrize(
    ("version", "is_spoken"),
    [
        (ssl.TLSVersion.TLSv1_1, False),
        (ssl.TLSVersion.TLSv1_2, True),
        (ssl.TLSVersion.TLSv1_3, True),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_older_tls_is_not_spoken(
    tmp_path: Path, version: ssl.TLSVersion, *, is_spoken: bool
) -> None:
    """
    1.2 and 1.3 are.
    """
    async with running(tmp_path) as peitho:
        client = ssl.create_default_context(cadata=peitho.parts.shared.delivery_tls.authority.pem)
        client.set_ciphers("ALL:@SECLEVEL=0")
        client.minimum_version = client.maximum_version = version
        with nullcontext() if is_spoken else pytest.raises(aiohttp.ClientConnectorError):
            async with peitho.http.get(f"{peitho.delivery}/builds/x", ssl=client) as response:
                assert 403 == response.status


async def test_whoever_trusts_another_ca_says_nothing(tmp_path: Path) -> None:
    """
    Nor for another name; the listener tells that they hung up.
    """
    async with running(tmp_path) as peitho:
        others = ssl.create_default_context(cadata=Authority.make(time.time()).pem)
        for context, name in ((others, None), (True, "peitho")):
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await peitho.http.get(
                    f"{peitho.delivery}/builds/x", ssl=context, server_hostname=name
                )


async def test_who_shakes_no_hands_is_let_go(tmp_path: Path) -> None:
    """
    After ten seconds.
    """
    async with running(tmp_path) as peitho:
        address = urlsplit(peitho.delivery)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        began = asyncio.get_running_loop().time()
        assert b"" == await reader.read()
        writer.close()

        assert 10 == pytest.approx(asyncio.get_running_loop().time() - began, abs=0.5)


async def test_a_layer_of_many_records_is_given_whole(tmp_path: Path) -> None:
    """
    By the Pod's own client; what it sends arrives whole, too.
    """
    async with running(tmp_path) as peitho:
        content = os.urandom(1_500_000)
        await peitho.services.images.build("mycc", chunks(context(binpackage=package(content))))
        layer = peitho.services.images.get("mycc").layer
        token = await pullers(peitho, layer)
        made = await build(peitho)
        ca = peitho.parts.shared.delivery_tls.authority.pem

        def fetch() -> str:
            puller = PeithoClient(peitho.delivery, token, ca)
            return puller.get(f"/blobs/{layer}", lambda got: sha256(got.read()))

        def send() -> None:
            helper = PeithoClient(peitho.delivery, helpers(peitho, made), ca)
            pieces = (content[at : at + 100_000] for at in range(0, len(content), 100_000))
            helper.send("PUT", f"/builds/{made.id}/result", pieces)

        assert layer == await asyncio.to_thread(fetch)
        await asyncio.to_thread(send)
        run = peitho.services.builds.pool.get(made.id)
        assert run.result
        assert sha256(content) == f"sha256:{run.result.digest}"


def sha256(content: bytes) -> str:
    """The digest of a content."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
