import secrets
import tracemalloc
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from aiohttp import web

from peitho.clients.registry import uploads
from peitho.clients.registry.transport import RegistryError
from peitho.clients.registry.uploads import bytes_source, file_source
from peitho.errors import PeithoError, Unavailable
from peitho.formats.images import oci
from peitho.formats.images.oci import Descriptor
from tests.support.registry_double import RegistryDouble, Script, cut, normally, says

NAME = "chaincode/mycc"
SMALL = secrets.token_bytes(1000)
LARGE = secrets.token_bytes(2_500_000)
PIECE_BYTES = 1_000_000
PART = 200_000
USUAL_PIECE_BYTES = uploads.PIECE_BYTES


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a blob of many is small as well, and quick to send."""
    monkeypatch.setattr(uploads, "PIECE_BYTES", PIECE_BYTES)


def blob(content: bytes) -> Descriptor:
    """What a manifest says of a content."""
    return Descriptor(oci.OCI_LAYER, oci.digest_of(content), len(content))


async def send(double: RegistryDouble, content: bytes) -> None:
    """Send a content to a registry, and see that it has it, whole."""
    async with double.client() as registry:
        assert "sent" == await registry.upload(NAME, blob(content), bytes_source(content))
    assert content == double.blobs[blob(content).digest]


async def test_a_small_blob_goes_in_one_piece() -> None:
    """
    Two calls are enough.
    """
    async with RegistryDouble.start() as double:
        await send(double, SMALL)

    assert [("HEAD", "blob"), ("POST", "uploads"), ("PUT", "upload")] == double.requests


async def test_a_large_blob_goes_in_pieces_each_with_its_range() -> None:
    """
    As the distribution specification has them.
    """
    async with RegistryDouble.start() as double:
        await send(double, LARGE)

    pieces = [each["Content-Range"] for each in double.headers if "Content-Range" in each]
    assert [
        f"0-{PIECE_BYTES - 1}",
        f"{PIECE_BYTES}-{2 * PIECE_BYTES - 1}",
        f"{2 * PIECE_BYTES}-{len(LARGE) - 1}",
    ] == pieces


async def test_a_registry_may_ask_for_larger_pieces() -> None:
    """
    It is given all in one, then.
    """
    async with RegistryDouble.start() as double:
        double.script("POST", "uploads", _wants_larger(double))
        await send(double, LARGE)

    assert 0 == double.count("PATCH", "upload")


def _wants_larger(double: RegistryDouble) -> Script:
    async def script(_: web.Request) -> web.StreamResponse:
        double.uploads["mine"] = bytearray()
        location = f"/v2/{NAME}/blobs/uploads/mine"
        headers = {"Location": location, "OCI-Chunk-Min-Length": str(len(LARGE))}
        return web.Response(status=202, headers=headers)

    return script


@pytest.mark.parametrize("keep", [True, False], ids=["kept", "lost"])
@pytest.mark.parametrize("piece", [0, 1, 2])
async def test_a_cut_in_the_middle_of_a_blob_is_mended(piece: int, keep: bool) -> None:  # noqa: FBT001
    """
    From where the registry says that it is, or from the beginning where it has lost all.
    """
    async with RegistryDouble.start() as double:
        before = [normally()] * piece
        double.script("PATCH", "upload", *before, cut(double, after_bytes=PART, keep=keep))
        await send(double, LARGE)

    pieces = [each["Content-Range"] for each in double.headers if "Content-Range" in each]
    begin = piece * PIECE_BYTES + PART if keep else 0
    assert pieces[piece + 1].startswith(f"{begin}-")


async def test_a_cut_in_the_last_call_is_mended() -> None:
    """
    Also where the blob was complete, and only the answer was lost.
    """

    async def lost(request: web.Request) -> web.StreamResponse:
        double.add_blob(NAME, SMALL)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with RegistryDouble.start() as double:
        double.script("PUT", "upload", cut(double, after_bytes=100))
        await send(double, SMALL)
        double.blobs.clear()
        double.repositories.clear()
        double.script("PUT", "upload", lost)
        await send(double, SMALL)

    assert 3 == double.count("PUT", "upload")


async def test_each_step_forward_renews_the_patience() -> None:
    """
    A bad line costs time, and not the upload.
    """
    async with RegistryDouble.start() as double:
        double.script("PATCH", "upload", *[cut(double, after_bytes=PART)] * 6)
        await send(double, LARGE)


async def test_an_upload_that_gets_nowhere_ends() -> None:
    """
    With what is in its way.
    """
    async with RegistryDouble.start() as double:
        double.script("PATCH", "upload", *[cut(double, after_bytes=PART, keep=False)] * 9)
        with pytest.raises(Unavailable, match=r"cannot be reached: sending sha256:\w+ to "):
            await send(double, LARGE)

    assert 3 == double.count("PATCH", "upload")
    assert {} == double.blobs


@pytest.mark.parametrize("call", [("POST", "uploads"), ("PATCH", "upload"), ("PUT", "upload")])
async def test_a_busy_registry_is_waited_for(call: tuple[str, str]) -> None:
    """
    In the middle of an upload as well.
    """
    async with RegistryDouble.start() as double:
        double.script(*call, says(429, Retry_After="0"), says(503))
        await send(double, LARGE)


@pytest.mark.parametrize("call", [("POST", "uploads"), ("PATCH", "upload"), ("PUT", "upload")])
async def test_a_no_is_final(call: tuple[str, str]) -> None:
    """
    In the registry's own words.
    """
    async with RegistryDouble.start() as double:
        double.script(*call, says(403))
        with pytest.raises(RegistryError, match=f"sending .* to {NAME}: 403 said so"):
            await send(double, LARGE)

    assert 1 == double.count(*call)


async def test_a_blob_that_is_not_what_it_says_is_refused_by_the_registry() -> None:
    """
    By its digest; nothing of it is there.
    """
    async with RegistryDouble.start() as double, double.client() as registry:
        with pytest.raises(RegistryError, match="400 DIGEST_INVALID"):
            await registry.upload(NAME, blob(SMALL), bytes_source(bytes(len(SMALL))))

    assert {} == double.blobs


@pytest.mark.parametrize("missing", [1, 1000])
async def test_a_blob_that_is_shorter_than_it_says_is_told(missing: int) -> None:
    """
    Such as a file that was changed.
    """
    async with RegistryDouble.start() as double, double.client() as registry:
        with pytest.raises(PeithoError, match=f"the blob ends {missing} bytes too early"):
            await registry.upload(NAME, blob(SMALL), bytes_source(SMALL[missing:]))


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("https://evil.io/v2/a", "leads to another host, evil.io; nothing is sent there"),
        ("//evil.io/v2/a", "leads to another host, evil.io"),
        ("http://[", "leads to another host"),
        ("", "leads nowhere"),
    ],
)
async def test_an_upload_is_not_sent_to_another_host(location: str, message: str) -> None:
    """
    Nor are credentials.
    """
    async with RegistryDouble.start(auth="basic") as double:
        double.script("POST", "uploads", says(202, **({"Location": location} if location else {})))
        with pytest.raises(PeithoError, match=message):
            await send(double, SMALL)


async def test_a_registry_that_names_its_scheme_wrongly_is_sent_to_all_the_same() -> None:
    """
    One behind a proxy does: path and query are what counts.
    """
    async with RegistryDouble.start() as double:
        double.uploads["mine"] = bytearray()
        location = f"https://127.0.0.1/v2/{NAME}/blobs/uploads/mine?_state=x%3D"
        double.script("POST", "uploads", says(202, Location=location))
        await send(double, SMALL)


async def test_an_upload_that_the_registry_forgot_is_begun_anew() -> None:
    """
    It may have been restarted.
    """

    async def forget(_: web.Request) -> None:
        double.uploads.clear()

    async with RegistryDouble.start() as double:
        double.script("PATCH", "upload", normally(), forget)
        await send(double, LARGE)

    assert 2 == double.count("POST", "uploads")


async def test_a_file_is_sent_without_being_held_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Of a file of 50 MB, a few are there at a time.
    """
    monkeypatch.setattr(uploads, "PIECE_BYTES", USUAL_PIECE_BYTES)
    path = tmp_path / "layer"
    with path.open("wb") as file:
        file.truncate(50_000_000)
    size, digest = path.stat().st_size, "sha256:" + "0" * 64

    async def swallow(request: web.Request) -> web.StreamResponse:
        async for _ in request.content.iter_any():
            pass
        return web.Response(status=202)

    async with RegistryDouble.start() as double, double.client() as registry:
        double.script("PATCH", "upload", *[swallow] * 6)
        double.script("PUT", "upload", says(201))
        tracemalloc.start()
        await registry.upload(NAME, Descriptor("a", digest, size), file_source(path))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert peak < 20_000_000


async def test_a_file_is_read_from_where_it_is_asked_for(tmp_path: Path) -> None:
    """
    To its end.
    """
    path = tmp_path / "layer"
    path.write_bytes(SMALL)

    async def all_of(source: AsyncGenerator[bytes, None]) -> bytes:
        return b"".join([chunk async for chunk in source])

    assert SMALL[300:] == await all_of(file_source(path)(300))
    assert SMALL[300:] == await all_of(bytes_source(SMALL)(300))


@pytest.mark.parametrize("status", [307, 308])
async def test_an_upload_that_is_led_on_is_sent_there(status: int) -> None:
    """
    The body again, too: nothing counts as sent that the registry has not taken.
    """

    async def led_on(request: web.Request) -> web.StreamResponse:
        await request.read()
        return await says(status, Location=str(request.rel_url))(request) or web.Response()

    async with RegistryDouble.start(auth="basic") as double:
        for method, kind in (("POST", "uploads"), ("PATCH", "upload"), ("PUT", "upload")):
            double.script(method, kind, led_on)

        await send(double, LARGE)


@pytest.mark.parametrize(
    ("status", "location"), [(307, "https://elsewhere.example/v2/"), (302, "/v2/"), (307, "")]
)
async def test_an_upload_that_is_led_away_is_refused(status: int, location: str) -> None:
    """
    Neither the blob nor our credentials go to another host, and it never counts as sent.
    """
    away = {"Location": location} if location else {}
    async with RegistryDouble.start(auth="basic") as double, double.client() as registry:
        double.script("PUT", "upload", says(status, **away))

        with pytest.raises(RegistryError, match=str(status)):
            await registry.upload(NAME, blob(SMALL), bytes_source(SMALL))

    assert {} == double.blobs
