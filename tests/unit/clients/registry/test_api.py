import hashlib
import json
from pathlib import Path

import pytest
from aiohttp import web

from peitho.clients.registry.api import Registry
from peitho.clients.registry.transport import RegistryEndpoint, RegistryError
from peitho.clients.registry.uploads import bytes_source
from peitho.errors import PeithoError, Unavailable
from peitho.formats.images import oci
from tests.support.registry_content import CONTENT, NAME, blob
from tests.support.registry_double import QUICK, RegistryDouble, says


def manifest(*layers: bytes) -> bytes:
    """A manifest of an image with these layers, the first being its configuration too."""
    described = [{"mediaType": "a", "digest": blob(x).digest, "size": len(x)} for x in layers]
    return json.dumps(
        {"mediaType": oci.OCI_MANIFEST, "config": described[0], "layers": described}
    ).encode()


async def test_a_manifest_is_put_and_read() -> None:
    """
    By its tag and by its digest, as it is on the wire.
    """
    async with RegistryDouble.start() as double, double.client() as registry:
        body = manifest(CONTENT)
        assert "sent" == await registry.upload(NAME, blob(), bytes_source(CONTENT))
        assert await registry.digest(NAME, "latest") is None
        assert await registry.manifest(NAME, "latest") is None

        await registry.put_manifest(NAME, "latest", media_type=oci.OCI_MANIFEST, body=body)

        assert oci.digest_of(body) == await registry.digest(NAME, "latest")
        found = await registry.manifest(NAME, oci.digest_of(body))
        assert found is not None
        assert (oci.OCI_MANIFEST, body) == (found.media_type, found.body)
        assert CONTENT == await registry.small_blob(NAME, blob())
        assert oci.OCI_INDEX in double.headers[-2]["Accept"]


async def test_a_manifest_is_deleted_with_its_tags() -> None:
    """
    A second time, there is none.
    """
    async with RegistryDouble.start() as double, double.client() as registry:
        double.add_blob(NAME, CONTENT)
        body = manifest(CONTENT)
        await registry.put_manifest(NAME, "latest", media_type=oci.OCI_MANIFEST, body=body)

        assert await registry.delete_manifest(NAME, oci.digest_of(body))

        assert await registry.digest(NAME, "latest") is None
        assert not await registry.delete_manifest(NAME, oci.digest_of(body))


async def test_a_registry_that_tells_no_digest_is_read() -> None:
    """
    It is made of what the registry has.
    """
    async with RegistryDouble.start() as double, double.client() as registry:
        body = manifest(CONTENT)
        double.repository(NAME).manifests["latest"] = (oci.OCI_MANIFEST, body)
        double.script("HEAD", "manifest", says(200))

        assert oci.digest_of(body) == await registry.digest(NAME, "latest")


async def test_what_a_question_does_not_say_is_asked_for_again() -> None:
    """
    An answer to HEAD has no words.
    """
    async with RegistryDouble.start() as double, double.client() as registry:
        double.script("HEAD", "manifest", says(403))
        double.script("GET", "manifest", says(403))
        with pytest.raises(RegistryError, match=r"reading .*:latest: 403 said so"):
            await registry.digest(NAME, "latest")

        double.script("HEAD", "blob", says(403))
        double.script("POST", "uploads", says(403))
        with pytest.raises(RegistryError, match=r"sending .*: 403 said so"):
            await registry.upload(NAME, blob(), bytes_source(CONTENT))


async def test_what_is_there_is_not_sent_again() -> None:
    """
    A question is all.
    """
    async with RegistryDouble.start() as double, double.client() as registry:
        double.add_blob(NAME, CONTENT)

        assert "present" == await registry.upload(NAME, blob(), bytes_source(CONTENT))

    assert [("HEAD", "blob")] == double.requests


async def test_what_another_repository_has_is_mounted() -> None:
    """
    The first that has it gives it.
    """
    async with RegistryDouble.start() as double, double.client() as registry:
        double.add_blob("base", CONTENT)

        outcome = await registry.upload(
            NAME, blob(), bytes_source(CONTENT), holders=(NAME, "other", "base")
        )

    assert "mounted" == outcome
    assert blob().digest in double.repository(NAME).blobs
    assert 0 == double.count("PUT", "upload")


@pytest.mark.parametrize("refuses", [False, True])
async def test_a_registry_that_does_not_mount_is_sent_the_blob(refuses: bool) -> None:  # noqa: FBT001
    """
    In the upload that it began instead, or one of our own.
    """
    async with RegistryDouble.start() as double, double.client() as registry:
        double.mounts = False
        double.add_blob("base", CONTENT)
        if refuses:
            double.script("POST", "uploads", says(403))

        outcome = await registry.upload(NAME, blob(), bytes_source(CONTENT), holders=("base",))

    assert "sent" == outcome
    assert CONTENT == double.blobs[blob().digest]
    assert 1 + refuses == double.count("POST", "uploads")


async def test_a_blob_is_copied_from_another_registry() -> None:
    """
    From where it is asked for, also by a source that knows no ranges.
    """
    async with RegistryDouble.start() as one, one.client() as source:
        one.add_blob("base", CONTENT)
        for ranges in (True, False):
            if not ranges:

                async def whole(_: object) -> web.Response:
                    return web.Response(body=CONTENT)

                one.script("GET", "blob", whole)
            read = source.source("base", blob())
            assert CONTENT[700:] == b"".join([chunk async for chunk in read(700)])

        async with RegistryDouble.start() as two, two.client() as target:
            assert "sent" == await target.upload(NAME, blob(), source.source("base", blob()))

    assert CONTENT == two.blobs[blob().digest]


async def test_a_copy_whose_source_is_gone_says_so() -> None:
    """
    Not that the target has cut the line.
    """
    async with (
        RegistryDouble.start() as one,
        one.client() as source,
        RegistryDouble.start() as two,
        two.client() as target,
    ):
        with pytest.raises(PeithoError, match=r"reading sha256:.* of base: 404 BLOB_UNKNOWN"):
            await target.upload(NAME, blob(), source.source("base", blob()))

    assert {} == two.blobs


async def test_a_content_that_is_not_what_was_asked_for_is_refused() -> None:
    """
    Whatever the registry's reasons are.
    """
    async with RegistryDouble.start() as double, double.client() as registry:
        digest = double.add_blob(NAME, CONTENT)
        double.blobs[digest] = b"other"
        double.repository(NAME).manifests[digest] = (oci.OCI_MANIFEST, b"{}")

        with pytest.raises(PeithoError, match="another content than asked for"):
            await registry.small_blob(NAME, blob())
        with pytest.raises(PeithoError, match="another content than asked for"):
            await registry.manifest(NAME, digest)


async def test_an_answer_without_an_end_is_refused() -> None:
    """
    No body is held in memory that is not small.
    """
    async with RegistryDouble.start() as double, double.client() as registry:
        double.repository(NAME).manifests["latest"] = ("a", bytes(5 * 1024 * 1024))

        with pytest.raises(PeithoError, match="an answer is larger than 4194304 bytes"):
            await registry.manifest(NAME, "latest")


@pytest.mark.parametrize(("kilobytes", "pages"), [(1, 20), (1500, 3)])
async def test_a_list_of_pages_without_an_end_is_read_so_far(kilobytes: int, pages: int) -> None:
    """
    Of many pages, and of large ones: all are held until they are put together.
    """
    body = json.dumps({"manifests": [{"filling": "x" * 1024 * kilobytes}]}).encode()

    async def page(request: web.Request) -> web.StreamResponse:
        more = {"Link": f'<{request.path}>; rel="next"', "Content-Type": oci.OCI_INDEX}
        return web.Response(body=body, headers=more)

    async with RegistryDouble.start() as double, double.client() as registry:
        double.script("GET", "blob", *[page] * 30)
        found = await registry.referrers(NAME, oci.digest_of(CONTENT))

    assert found is not None
    assert pages == len(json.loads(found.body)["manifests"])


async def test_a_manifest_whose_blobs_are_missing_is_refused_in_the_registrys_words() -> None:
    """
    With the registry, the repository and the status.
    """
    async with RegistryDouble.start() as double, double.client() as registry:
        with pytest.raises(RegistryError) as raised:
            await registry.put_manifest(
                NAME, "latest", media_type=oci.OCI_MANIFEST, body=manifest(CONTENT)
            )

    assert 400 == raised.value.code
    assert (
        f"registry {double.address}: putting the manifest {NAME}:latest: "
        "400 MANIFEST_BLOB_UNKNOWN: blob unknown to registry"
    ) == str(raised.value)


async def test_a_registry_that_keeps_another_content_is_told() -> None:
    """
    A Job would name a digest that is not there.
    """
    async with RegistryDouble.start() as double, double.client() as registry:
        other = f"sha256:{hashlib.sha256().hexdigest()}"
        double.script("PUT", "manifest", says(201, Docker_Content_Digest=other))

        with pytest.raises(PeithoError, match="it kept another content"):
            await registry.put_manifest(NAME, "latest", media_type="a", body=b"{}")


@pytest.mark.parametrize("kind", ["blob", "manifest"])
async def test_a_redirect_is_followed(kind: str) -> None:
    """
    To a bucket, where our credentials are not shown.
    """
    async with (
        RegistryDouble.start() as bucket,
        RegistryDouble.start(auth="basic") as double,
        double.client() as registry,
    ):
        body = manifest(CONTENT)
        bucket.add_blob("bucket", CONTENT)
        bucket.repository("bucket").manifests["latest"] = (oci.OCI_MANIFEST, body)
        root = f"http://{bucket.address}/v2/bucket"
        double.script("GET", "blob", says(307, Location=f"{root}/blobs/{blob().digest}"))
        double.script("GET", "manifest", says(302, Location=f"{root}/manifests/latest"))

        if kind == "blob":
            assert CONTENT == await registry.small_blob(NAME, blob())
        else:
            found = await registry.manifest(NAME, "latest")
            assert found is not None
            assert body == found.body

    assert "Authorization" in double.headers[-1]
    assert "Authorization" not in bucket.headers[-1]


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("", "307"),
        ("ftp://x.io/blob", "leads to no https address"),
        ("http://[", "307"),
        ("/v2/a/blobs/b", "307"),
    ],
)
async def test_a_redirect_to_nowhere_is_refused(location: str, message: str) -> None:
    """
    So is one that has no end.
    """
    async with RegistryDouble.start() as double, double.client() as registry:
        double.script(
            "GET", "blob", *[says(307, **({"Location": location} if location else {}))] * 9
        )

        with pytest.raises(RegistryError, match=message):
            await registry.small_blob(NAME, blob())


async def test_a_registry_that_is_away_is_told_as_such() -> None:
    """
    With its address, and after a few attempts.
    """
    endpoint = RegistryEndpoint("127.0.0.1:1", insecure=True)
    async with Registry.connect(endpoint, lambda: None, patience=QUICK) as registry:
        with pytest.raises(Unavailable, match=r"The registry 127\.0\.0\.1:1 cannot be reached: "):
            await registry.digest(NAME, "latest")


async def test_plain_http_is_spoken_when_told_alone() -> None:
    """
    A registry that has no TLS is not taken for one that has.
    """
    async with RegistryDouble.start() as double:
        endpoint = RegistryEndpoint(double.address)
        async with Registry.connect(endpoint, lambda: None, patience=QUICK) as registry:
            with pytest.raises(Unavailable, match="cannot be reached"):
                await registry.digest(NAME, "latest")

    assert [] == double.requests


async def test_a_file_of_no_certificates_is_told(tmp_path: Path) -> None:
    """
    With its name.
    """
    path = tmp_path / "ca.crt"
    for text in (None, "no certificate"):
        if text:
            path.write_text(text)
        async with Registry.connect(
            RegistryEndpoint("x.io", ca_file=path), lambda: None
        ) as registry:
            with pytest.raises(Unavailable, match=r"docker\.registry\.ca-file cannot be .*ca\.crt"):
                await registry.digest(NAME, "latest")


async def test_a_registry_behind_a_prefix_is_spoken_to_there() -> None:
    """
    Its uploads lead there as well.
    """
    async with RegistryDouble.start(prefix="/team/a") as double, double.client() as registry:
        assert "sent" == await registry.upload(NAME, blob(), bytes_source(CONTENT))
        assert await registry.has_blob(NAME, blob().digest)
