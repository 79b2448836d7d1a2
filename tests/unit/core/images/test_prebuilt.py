"""Chaincode that is an image already: from the peer's upload to its Job, and what keeps it out."""

import base64
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from peitho.clients.registry.transport import RegistryCredentials
from peitho.core.builds.container import BuildContainer
from peitho.core.container import OutputOptions
from peitho.errors import Forbidden, InvalidArgument, PeithoError, Unavailable
from peitho.formats.images import cosign, dsse, oci, prebuilt, referrers
from peitho.formats.images.oci import Descriptor
from peitho.formats.records import ContainerSpec
from tests.support.archives import archive_bytes, file
from tests.support.contexts import chunks, context, package
from tests.support.in_process import Running, running
from tests.support.kubernetes_double import always, refusal
from tests.support.pull_secrets import pull_secret
from tests.support.registry_content import fabric
from tests.support.registry_double import USER, RegistryDouble
from tests.support.tenants import served, settings_of, tenants_of

DIGEST = "sha256:" + "ab" * 32
IMAGE = f"registry.example/org/asset@{DIGEST}"
BUILD = ContainerSpec(image="ccenv", command=("go", "build"), entrypoint=(), env=("A=1",))
LAUNCH = ContainerSpec(
    image="mycc",
    command=("chaincode", "-peer.address=peer0:7052"),
    entrypoint=(),
    env=("CORE_CHAINCODE_ID_NAME=asset:1",),
)
KEY = ec.generate_private_key(ec.SECP256R1())


def source(image: str = IMAGE, *, language: str = "golang") -> bytes:
    """What a peer uploads for a package of an image, as `peitho package` makes it."""
    made = prebuilt.package(image, label="asset", language=language)
    with tarfile.open(fileobj=io.BytesIO(made)) as outer:
        return (outer.extractfile("code.tar.gz") or io.BytesIO()).read()


def put_beside(double: RegistryDouble, bundle: bytes, kind: str) -> None:
    """Put a bundle beside an image, and have the list of what is there say its kind."""
    layer = Descriptor(dsse.BUNDLE, double.add_blob("org/asset", bundle), len(bundle))
    image = Descriptor(oci.OCI_MANIFEST, DIGEST, 7)
    manifest = referrers.manifest(image, layer, artifact_type=dsse.BUNDLE, annotations={})
    manifests = double.repository("org/asset").manifests
    manifests[oci.digest_of(manifest)] = (oci.OCI_MANIFEST, manifest)
    manifests[referrers.tag(DIGEST)] = (oci.OCI_INDEX, referrers.index(None, [(manifest, kind)]))


async def built(peitho: Running, upload: bytes) -> BuildContainer:
    """A build that was started."""
    build = peitho.services.builds.create(BUILD)
    await build.put_archive("/chaincode/input", chunks(upload))
    assert await build.start()
    return build


async def installed(peitho: Running, upload: bytes) -> bytes:
    """What a peer does at an install: a build, and the image of its result."""
    build = await built(peitho, upload)
    assert 0 == (await build.wait()).exit_code
    result = (await build.get_archive("/chaincode/output/.")).file.read_bytes()
    body = context(binpackage=result)
    assert 200 == (await peitho.ask("POST", "/build?t=mycc", body=body))[0]
    return result


def public_key(folder: Path) -> Path:
    """The file of the key that signs."""
    path = folder / "cosign.pub"
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    path.write_bytes(KEY.public_key().public_bytes(serialization.Encoding.PEM, form))
    return path


def sign(double: RegistryDouble, digest: str, *, key: ec.EllipticCurvePrivateKey = KEY) -> None:
    """Put a signature of an image there, as cosign does."""
    said = {"critical": {"image": {"docker-manifest-digest": digest}}}
    payload = json.dumps(said).encode()
    signature = base64.b64encode(key.sign(payload, ec.ECDSA(hashes.SHA256()))).decode()
    layer = {
        "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
        "digest": double.add_blob("org/asset", payload),
        "size": len(payload),
        "annotations": {"dev.cosignproject.cosign/signature": signature},
    }
    kind = "application/vnd.oci.image.manifest.v1+json"
    body = json.dumps({"schemaVersion": 2, "mediaType": kind, "layers": [layer]}).encode()
    double.repository("org/asset").manifests[cosign.tag(DIGEST)] = (kind, body)


async def test_nothing_is_compiled_and_the_image_is_launched(tmp_path: Path) -> None:
    """
    The build says so and is over; no Pod was made for it, and the Job has the image itself.
    """
    async with running(tmp_path) as peitho:
        build = await built(peitho, source())
        said = [data async for _, data in build.output(OutputOptions(follow=True))]
        assert [f"peitho: nothing is compiled, this is {IMAGE}\n".encode()] == said
        assert 0 == peitho.cluster.count("POST", "pods")

        result = await installed(peitho, source())
        assert result == await installed(peitho, source())
        assert IMAGE == peitho.services.images.get("mycc").prebuilt

        made = await peitho.services.containers.create("dev-peer0-mycc", LAUNCH)
        peitho.cluster.script("POST", "jobs", always(lambda: refusal(403, "Forbidden", "quota")))
        with pytest.raises(PeithoError, match="quota"):
            await made.start()
        job = _job(peitho)
        (main,) = job["spec"]["template"]["spec"]["containers"]
        assert IMAGE == main["image"]
        assert {"name": "CORE_PEER_ADDRESS", "value": "peer0:7052"} in main["env"]
        assert "initContainers" not in job["spec"]["template"]["spec"]


@pytest.mark.parametrize("language", ["node", "java"])
async def test_a_package_of_any_language_is_an_image(tmp_path: Path, language: str) -> None:
    """
    A peer's script for it would not find anything to build.
    """
    async with running(tmp_path) as peitho:
        await installed(peitho, source(language=language))

        assert 0 == peitho.cluster.count("POST", "pods")
        assert IMAGE == peitho.services.images.get("mycc").prebuilt


async def test_nodes_are_asked_for_the_image_itself(tmp_path: Path) -> None:
    """
    Before the peer's install is answered; the runtime image is of no use here.
    """
    async with running(tmp_path) as peitho:
        await installed(peitho, source())

        tried = _job(peitho)["spec"]["template"]
        assert IMAGE == tried["metadata"]["annotations"]["peitho/trial-of"]
        assert IMAGE == tried["spec"]["containers"][0]["image"]


async def test_in_registry_mode_it_is_the_same(tmp_path: Path) -> None:
    """
    What is pushed says which image is run; after a restart, too.
    """
    async with RegistryDouble.start() as double:
        fabric(double)
        one, two = tmp_path / "one", tmp_path / "two"
        one.mkdir()
        two.mkdir()
        settings: dict[str, Any] = {
            "peitho": {"imageMode": "registry"},
            "images": {"rewrite": {"hyperledger/*": f"{double.address}/hyperledger/*"}},
            "docker": {"registry": {"server-address": double.address, "insecure": True}},
        }
        async with running(one, **settings) as peitho:
            await installed(peitho, source())
            assert IMAGE == _job(peitho)["spec"]["template"]["spec"]["containers"][0]["image"]
        async with running(two, **settings) as peitho:
            found = await peitho.services.publisher.find("mycc")
            assert found
            assert IMAGE == found.image.prebuilt


async def test_an_image_that_no_pattern_matches_is_refused(tmp_path: Path) -> None:
    """
    At the start of the build, with the setting that says so.
    """
    access: dict[str, Any] = {
        "access": {"images": ["ccenv", "*/fabric-*", "registry.example/org/*"]}
    }
    async with running(tmp_path, **access) as peitho:
        await built(peitho, source())
        with pytest.raises(Forbidden, match=r"other/asset.*access.images"):
            await built(peitho, source(IMAGE.replace("org", "other")))


async def test_each_tenant_has_a_list_of_its_own(tmp_path: Path, certificates: Path) -> None:
    """
    What another's list has is refused, whatever the list of all says.
    """
    lists = {"acme": "registry.example/org/*", "other": "registry.example/other/*"}
    named = tenants_of(**{name: {"images": [pattern]} for name, pattern in lists.items()})
    access = {"images": ["*"], "tenants": named}
    folder = certificates / "ours"
    settings = settings_of(folder, tmp_path, access=access)
    async with served(tmp_path, folder, settings) as peitho:
        for name in lists:
            build = peitho.tenants[name].services.builds.create(BUILD)
            await build.put_archive("/chaincode/input", chunks(source()))
            if name == "acme":
                assert await build.start()
                continue
            with pytest.raises(Forbidden, match=r"org/asset.*may not be used here"):
                await build.start()


async def test_a_tag_is_refused_with_its_upload(tmp_path: Path) -> None:
    """
    No build comes of it.
    """
    content = json.dumps({"name": "registry.example/org/asset:1", "digest": DIGEST}).encode()
    upload = archive_bytes([file("src/image.json", content)], compression="gz")
    async with running(tmp_path) as peitho:
        with pytest.raises(InvalidArgument, match="by its digest, without a tag"):
            await built(peitho, upload)


async def test_a_result_of_somebody_else_stands_for_nothing(tmp_path: Path) -> None:
    """
    What a build writes into its output is never taken for the word of a package.
    """
    forged = archive_bytes([file("./image.json", prebuilt.document(IMAGE))])
    async with running(tmp_path) as peitho:
        for binpackage in (forged, package(prebuilt.document(IMAGE)), prebuilt.result(IMAGE)):
            body = context(binpackage=binpackage)
            assert 200 == (await peitho.ask("POST", "/build?t=mycc", body=body))[0]
            assert "" == peitho.services.images.get("mycc").prebuilt


@pytest.mark.parametrize("who", ["ours", "another's", "nobody", "of another image"])
async def test_where_keys_are_set_an_image_has_to_be_signed(tmp_path: Path, who: str) -> None:
    """
    By one of them, for this digest.
    """
    async with RegistryDouble.start() as double:
        if who != "nobody":
            key = ec.generate_private_key(ec.SECP256R1()) if who == "another's" else KEY
            digest = f"sha256:{'cd' * 32}" if who == "of another image" else DIGEST
            sign(double, digest, key=key)
        image = f"{double.address}/org/asset@{DIGEST}"
        verify: dict[str, Any] = {"images": {"verify": [str(public_key(tmp_path))]}}
        async with running(tmp_path, **verify) as peitho:
            if who == "ours":
                await built(peitho, source(image))
            else:
                with pytest.raises(Forbidden, match=r"is not signed by any key of images.verify"):
                    await built(peitho, source(image))


@pytest.mark.parametrize("kind", [dsse.BUNDLE, referrers.EMPTY_TYPE])
@pytest.mark.parametrize("who", ["ours", "another's", "of another image", "of another kind"])
async def test_a_bundle_of_cosign_3_counts(tmp_path: Path, kind: str, who: str) -> None:
    """
    In whichever way the list of what is beside the image says what it is.
    """
    key = ec.generate_private_key(ec.SECP256R1()) if who == "another's" else KEY
    digest = "cd" * 32 if who == "of another image" else DIGEST[7:]
    predicate = "other" if who == "of another kind" else dsse.SIGNED
    said = {"subject": [{"name": "", "digest": {"sha256": digest}}], "predicateType": predicate}
    async with RegistryDouble.start() as double:
        put_beside(double, dsse.bundle(dsse.sign(json.dumps(said).encode(), key), key), kind)
        verify: dict[str, Any] = {"images": {"verify": [str(public_key(tmp_path))]}}
        upload = source(f"{double.address}/org/asset@{DIGEST}")
        async with running(tmp_path, **verify) as peitho:
            if who == "ours":
                await built(peitho, upload)
                return
            with pytest.raises(Forbidden, match=r"is not signed by any key of images.verify"):
                await built(peitho, upload)


async def test_a_signature_counts_whatever_else_is_beside_it(tmp_path: Path) -> None:
    """
    Attestations of every night, and bundles that are gone, which are listed before it.
    """
    said = {"subject": [{"digest": {"sha256": DIGEST[7:]}}], "predicateType": dsse.SIGNED}
    async with RegistryDouble.start() as double:
        put_beside(double, dsse.bundle(dsse.sign(json.dumps(said).encode(), KEY), KEY), dsse.BUNDLE)
        manifests = double.repository("org/asset").manifests
        kind, listed = manifests[referrers.tag(DIGEST)]
        index = json.loads(listed)
        (signature,) = index["manifests"]
        others = [
            signature | {"digest": f"sha256:{number:064x}", "annotations": notes}
            for number in range(60)
            for notes in [{"dev.sigstore.bundle.predicateType": "https://spdx.dev/Document"}]
        ]
        gone = signature | {"digest": f"sha256:{'ef' * 32}"}
        index["manifests"] = [*others, gone, signature]
        manifests[referrers.tag(DIGEST)] = (kind, json.dumps(index).encode())
        verify: dict[str, Any] = {"images": {"verify": [str(public_key(tmp_path))]}}
        async with running(tmp_path, **verify) as peitho:
            await built(peitho, source(f"{double.address}/org/asset@{DIGEST}"))


async def test_a_signature_counts_on_whichever_page_of_the_list_it_is(tmp_path: Path) -> None:
    """
    A registry of OCI 1.1 lists what is beside an image in pages.
    """
    said = {"subject": [{"digest": {"sha256": DIGEST[7:]}}], "predicateType": dsse.SIGNED}
    async with RegistryDouble.start() as double:
        put_beside(double, dsse.bundle(dsse.sign(json.dumps(said).encode(), KEY), KEY), dsse.BUNDLE)
        kind, listed = double.repository("org/asset").manifests.pop(referrers.tag(DIGEST))
        last = json.loads(listed)
        first = last | {"manifests": [last["manifests"][0] | {"digest": f"sha256:{'ef' * 32}"}]}
        asked: list[str] = []

        async def page(request: web.Request) -> web.StreamResponse:
            asked.append(request.path_qs)
            more = {"Link": f'<{request.path}?last=1>; rel="next"'} if len(asked) == 1 else {}
            body = json.dumps(first if more else last).encode()
            return web.Response(body=body, headers={"Content-Type": kind, **more})

        double.script("GET", "blob", page, page)
        verify: dict[str, Any] = {"images": {"verify": [str(public_key(tmp_path))]}}
        async with running(tmp_path, **verify) as peitho:
            await built(peitho, source(f"{double.address}/org/asset@{DIGEST}"))

        path = f"/v2/org/asset/referrers/{DIGEST}"
        assert [path, f"{path}?last=1"] == asked


async def test_a_signature_is_read_with_the_pull_secrets_of_chaincode(tmp_path: Path) -> None:
    """
    A private image has its signature beside it; an account that is refused is told.
    """
    wrong = RegistryCredentials("robot", "no-word")
    async with RegistryDouble.start(auth="basic") as double:
        sign(double, DIGEST)
        upload = source(f"{double.address}/org/asset@{DIGEST}")
        settings: dict[str, Any] = {
            "images": {"verify": [str(public_key(tmp_path))]},
            "chaincode": {"template": {"spec": {"imagePullSecrets": [{"name": "mine"}]}}},
        }
        async with running(tmp_path, **settings) as peitho:
            peitho.cluster.make("secrets/mine", pull_secret({double.address: wrong}))
            with pytest.raises(PeithoError, match=r"401.*refuses the account.* pull secret mine"):
                await built(peitho, upload)
            peitho.cluster.objects["secrets/mine"] = pull_secret({double.address: USER})
            await built(peitho, upload)


async def test_a_signature_is_looked_for_where_nodes_pull(tmp_path: Path) -> None:
    """
    In an air gap that is another registry; a key that cannot be read, or no registry, is told.
    """
    async with RegistryDouble.start() as double:
        sign(double, DIGEST)
        images: Mapping[str, Any] = {
            "verify": [str(public_key(tmp_path))],
            "rewrite": {"registry.example/*": f"{double.address}/*"},
        }
        async with running(tmp_path, images=images) as peitho:
            await built(peitho, source())
            with pytest.raises(Unavailable):
                await built(peitho, source(f"127.0.0.1:9/org/asset@{DIGEST}"))
            (tmp_path / "cosign.pub").write_text("no key")
            with pytest.raises(PeithoError, match=r"cosign.pub of images.verify cannot be used"):
                await built(peitho, source())


def _job(peitho: Running) -> dict[str, Any]:
    """The Job that was asked for last."""
    bodies = [each[3] for each in peitho.cluster.requests if each[:2] == ("POST", "jobs")]
    return dict(json.loads(bodies[-1]))
