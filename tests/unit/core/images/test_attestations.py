import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog

from peitho.clients.disk.storage import Storage
from peitho.clients.registry.registries import Registries
from peitho.core.images import attestations
from peitho.core.images.attestations import AttestationOptions, Attestations
from peitho.core.images.publisher import get
from peitho.core.images.registry import RegistryPublisher, RegistryPublisherOptions
from peitho.core.images.store import BuildResults, ImageStore
from peitho.errors import PeithoError
from peitho.formats.images import dsse, oci, provenance, referrers
from peitho.formats.images.oci import Descriptor
from peitho.formats.images.origin import NOWHERE, Origin
from peitho.formats.tar import ArchiveLimits
from peitho.settings.live import Live
from tests.support.accounts import account
from tests.support.contexts import chunks, context, package
from tests.support.registry_content import fabric
from tests.support.registry_double import QUICK, USER, RegistryDouble, says
from tests.support.signing import private_pem

NAME = "net-peer0.org1-mycc_1-0be83049"
REPOSITORY = f"chaincode/{NAME}"
ORIGIN = Origin(build_id="b1", builder="ccenv", builder_id="sha256:" + "cc" * 32)


@asynccontextmanager
async def peitho(
    folder: Path, double: RegistryDouble, *, key: Path | None = None, origin: Origin = ORIGIN
) -> AsyncIterator[RegistryPublisher]:
    """A Peitho that has carried out the build of what it pushes."""
    storage, results = Storage.open(folder), BuildResults()
    results.remember(oci.digest_of(package())[7:], "amd64", origin)
    registries = Registries(double.endpoint, account(USER.username, USER.password), patience=QUICK)
    rewrite = {"hyperledger/*": f"{double.address}/hyperledger/*"}
    async with asyncio.TaskGroup() as group:
        running = group.create_task(registries.run())
        try:
            yield RegistryPublisher(
                ImageStore(storage, results, limits=Live(ArchiveLimits())),
                storage,
                registries,
                Live(RegistryPublisherOptions(double.address, "chaincode", "amd64", rewrite)),
                attestations=Attestations(Live(AttestationOptions("urn:peitho:test", key))),
            )
        finally:
            running.cancel()


def beside(double: RegistryDouble, digest: str) -> list[str]:
    """What is kept beside an image, by kind."""
    found = double.repository(REPOSITORY).manifests.get(referrers.tag(digest))
    return [each.artifact_type for each in referrers.read(found[1])] if found else []


async def test_where_an_image_comes_from_is_said_beside_it(tmp_path: Path) -> None:
    """
    Once, and a Peitho that has not built it reads it there.
    """
    async with RegistryDouble.start() as double:
        fabric(double)
        async with peitho(tmp_path / "a", double) as ours:
            await ours.build(NAME, chunks(context()))
            published = await get(ours, NAME)
            await ours.build(NAME, chunks(context()))
        digest = published.reference.rpartition("@")[2]
        assert [dsse.IN_TOTO] == beside(double, digest)
        async with peitho(tmp_path / "b", double) as theirs:
            found = (await get(theirs, NAME)).image

    assert (ORIGIN.builder, ORIGIN.builder_id) == (found.origin.builder, found.origin.builder_id)
    assert published.image.runtime_id == found.runtime_id != ""


async def test_with_a_key_it_is_signed(tmp_path: Path) -> None:
    """
    In both formats of cosign.
    """
    key = tmp_path / "key.pem"
    public = private_pem(key)
    async with RegistryDouble.start() as double:
        fabric(double)
        async with peitho(tmp_path / "a", double, key=key) as ours:
            await ours.build(NAME, chunks(context()))
            digest = (await get(ours, NAME)).reference.rpartition("@")[2]
        attested = double.repository(REPOSITORY).manifests[f"{referrers.tag(digest)}.att"][1]
        (layer,) = referrers.layers(attested)
        envelope = dsse.read(double.blobs[layer.digest])

    assert [dsse.BUNDLE] == beside(double, digest)
    assert envelope.is_signed_by(public)
    subjects = json.loads(envelope.payload)["subject"]
    assert digest[7:] == subjects[0]["digest"]["sha256"]
    assert ORIGIN.builder == provenance.read(envelope.payload).builder


async def test_of_a_build_of_others_nothing_is_said(tmp_path: Path) -> None:
    """
    Since nothing is known.
    """
    async with RegistryDouble.start() as double:
        fabric(double)
        async with peitho(tmp_path, double, origin=NOWHERE) as ours:
            await ours.build(NAME, chunks(context()))
            digest = (await get(ours, NAME)).reference.rpartition("@")[2]
        assert [] == beside(double, digest)


@pytest.mark.parametrize("has_key", [False, True])
async def test_a_registry_that_refuses_it_fails_a_signed_build_alone(
    tmp_path: Path, *, has_key: bool
) -> None:
    """
    Without a key nobody asks for it; with one, Pods may be admitted by it.
    """
    key = tmp_path / "key.pem"
    private_pem(key)
    async with RegistryDouble.start() as double:
        fabric(double)
        double.script("PUT", "manifest", _normally, says(403))
        async with peitho(tmp_path / "a", double, key=key if has_key else None) as ours:
            if not has_key:
                await ours.build(NAME, chunks(context()))
                return
            with pytest.raises(PeithoError, match="the provenance of the image was not pushed"):
                await ours.build(NAME, chunks(context()))
            # Nobody finds it unsigned: the next look tries again.
            found = await get(ours, NAME)
        digest = found.reference.rpartition("@")[2]
        assert [dsse.BUNDLE] == beside(double, digest)


@pytest.mark.parametrize("has_key", [False, True])
async def test_a_statement_that_went_is_made_anew(tmp_path: Path, *, has_key: bool) -> None:
    """
    A package that is removed and installed again has one, though the list still names the first.
    """
    key = tmp_path / "key.pem"
    private_pem(key)
    async with RegistryDouble.start() as double:
        fabric(double)
        async with peitho(tmp_path / "a", double, key=key if has_key else None) as ours:
            await ours.build(NAME, chunks(context()))
            await ours.remove(NAME)
            await ours.build(NAME, chunks(context()))
            digest = (await get(ours, NAME)).reference.rpartition("@")[2]
        repository = double.repository(REPOSITORY)
        listed = referrers.read(repository.manifests[referrers.tag(digest)][1])

    assert any(each.descriptor.digest in repository.manifests for each in listed)


async def test_what_others_say_of_it_is_not_believed(tmp_path: Path) -> None:
    """
    Neither unsigned words, nor those about another image, nor what only claims our key.
    """
    key = tmp_path / "key.pem"
    public = private_pem(key)
    async with RegistryDouble.start() as double:
        fabric(double)
        async with peitho(tmp_path / "a", double) as theirs:
            await theirs.build(NAME, chunks(context()))
            digest = (await get(theirs, NAME)).reference.rpartition("@")[2]
        repository = double.repository(REPOSITORY)
        tag = referrers.tag(digest)
        kind, listed = repository.manifests[tag]
        claimed = json.loads(listed)
        claimed["manifests"][0]["annotations"]["peitho/key"] = dsse.hint(public)
        repository.manifests[tag] = (kind, json.dumps(claimed).encode())

        async with peitho(tmp_path / "b", double, key=key) as ours:
            assert NOWHERE == (await get(ours, NAME)).image.origin
            await ours.build(NAME, chunks(context()))
        async with peitho(tmp_path / "c", double, key=key) as ours:
            assert ORIGIN.builder == (await get(ours, NAME)).image.origin.builder


async def test_it_goes_with_its_image(tmp_path: Path) -> None:
    """
    When that is removed.
    """
    async with RegistryDouble.start() as double:
        fabric(double)
        async with peitho(tmp_path, double) as ours:
            await ours.build(NAME, chunks(context()))
            digest = (await get(ours, NAME)).reference.rpartition("@")[2]
            listed = double.repository(REPOSITORY).manifests[referrers.tag(digest)][1]
            await ours.remove(NAME)
        (each,) = referrers.read(listed)
        assert each.descriptor.digest not in double.repository(REPOSITORY).manifests


def attested(double: RegistryDouble, digest: str) -> list[Descriptor]:
    """The envelopes where cosign until 3 looks for them."""
    found = double.repository(REPOSITORY).manifests.get(f"{referrers.tag(digest)}.att")
    return referrers.layers(found[1]) if found else []


async def test_an_image_that_the_registry_keeps_keeps_its_statement(tmp_path: Path) -> None:
    """
    Its tag stays, and whoever admits by signature still finds one.
    """
    key = tmp_path / "key.pem"
    private_pem(key)
    async with RegistryDouble.start() as double:
        fabric(double)
        async with peitho(tmp_path / "a", double, key=key) as ours:
            await ours.build(NAME, chunks(context()))
            digest = (await get(ours, NAME)).reference.rpartition("@")[2]
            double.script("DELETE", "manifest", says(412))
            with pytest.raises(PeithoError):
                await ours.remove(NAME)

        assert [dsse.BUNDLE] == beside(double, digest)
        assert 1 == len(attested(double, digest))


def test_other_words_by_the_same_key_are_no_provenance() -> None:
    """
    Such as an operator's own of what a scan has found.
    """
    digest = f"sha256:{'ab' * 32}"
    scan = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "x", "digest": {"sha256": "ab" * 32}}],
        "predicateType": "https://cosign.sigstore.dev/attestation/vuln/v1",
        "predicate": {},
    }

    assert provenance.is_about(json.dumps(scan).encode(), digest)
    assert not attestations.is_ours(json.dumps(scan).encode(), digest)


async def test_a_statement_is_attested_once_however_often_it_is_tried(tmp_path: Path) -> None:
    """
    A try that ends after the first of both formats leaves its envelope to the next one.
    """
    key = tmp_path / "key.pem"
    private_pem(key)
    async with RegistryDouble.start() as double:
        fabric(double)
        async with peitho(tmp_path / "a", double, key=key) as ours:
            for _ in range(3):
                double.script("PUT", "manifest", *[_normally] * 2, says(403))
                with pytest.raises(PeithoError, match="the provenance of the image was not pushed"):
                    await ours.build(NAME, chunks(context()))
                del double.scripts["PUT", "manifest"]
            digest = (await get(ours, NAME)).reference.rpartition("@")[2]

        assert 1 == len(attested(double, digest))
        assert [dsse.BUNDLE] == beside(double, digest)


async def test_nothing_of_it_stays_in_lists_and_what_others_say_does(tmp_path: Path) -> None:
    """
    When an image is removed; a list that has nothing else goes, too.
    """
    key = tmp_path / "key.pem"
    private_pem(key)
    async with RegistryDouble.start() as double:
        fabric(double)
        repository = double.repository(REPOSITORY)
        others = Descriptor(dsse.ENVELOPE, double.add_blob(REPOSITORY, b"odd"), 3)
        async with peitho(tmp_path / "a", double, key=key) as ours:
            await ours.build(NAME, chunks(context()))
            await ours.remove(NAME)
            assert {} == repository.manifests

            await ours.build(NAME, chunks(context()))
            digest = (await get(ours, NAME)).reference.rpartition("@")[2]
            tag = referrers.tag(digest)
            kind, listed = repository.manifests[f"{tag}.att"]
            mixed = referrers.attestations(listed, [(others, {})])
            repository.manifests[f"{tag}.att"] = (kind, mixed)
            subject = Descriptor(oci.OCI_MANIFEST, digest, 1)
            theirs = referrers.manifest(subject, others, artifact_type="sbom", annotations={})
            index = referrers.index(repository.manifests[tag][1], [(theirs, "sbom")])
            repository.manifests[tag] = (oci.OCI_INDEX, index)
            await ours.remove(NAME)

        assert [others] == attested(double, digest)
        assert ["sbom"] == beside(double, digest)


async def test_with_a_key_what_cannot_be_signed_is_refused(tmp_path: Path) -> None:
    """
    At its install, which says why; nothing of it is pushed or kept, so the next is tried anew.
    """
    key = tmp_path / "key.pem"
    private_pem(key)
    async with RegistryDouble.start() as double:
        fabric(double)
        async with peitho(tmp_path / "a", double, origin=NOWHERE) as delivering:
            await delivering.build(NAME, chunks(context()))
        del double.repositories[REPOSITORY]
        async with peitho(tmp_path / "b", double, key=key, origin=NOWHERE) as ours:
            with pytest.raises(PeithoError, match="install the package again, through this one"):
                await ours.build(NAME, chunks(context()))
            assert await ours.find(NAME) is None
            assert {} == double.repository(REPOSITORY).manifests

            async with peitho(tmp_path / "c", double, key=key) as who_knows:
                await who_knows.build(NAME, chunks(context()))
            await ours.build(NAME, chunks(context()))
            assert (await get(ours, NAME)).reference


async def test_what_is_left_of_before_and_cannot_be_signed_is_built_anew(tmp_path: Path) -> None:
    """
    A peer that asks for it hears that it is missing, which makes it build.

    Once no key is asked for any more, what is kept counts again.
    """
    key = tmp_path / "key.pem"
    private_pem(key)
    async with RegistryDouble.start() as double:
        fabric(double)
        images = ImageStore(
            Storage.open(tmp_path / "a"), BuildResults(), limits=Live(ArchiveLimits())
        )
        await images.build(NAME, chunks(context()))
        async with peitho(tmp_path / "a", double, key=key, origin=NOWHERE) as ours:
            with structlog.testing.capture_logs() as told:
                assert await ours.find(NAME) is None
                assert await ours.find(NAME) is None
            assert ["image not pushed"] == [
                each["event"] for each in told if each["log_level"] == "warning"
            ]
            assert 1 == len(images.list())
            # An install that fails for the same reason takes nothing from whoever had it.
            with pytest.raises(PeithoError, match="cannot be signed"):
                await ours.build(NAME, chunks(context()))
            assert [NAME] == [each.name for each in images.list()]
        async with peitho(tmp_path / "a", double) as ours:
            assert await ours.find(NAME) is not None


async def test_what_is_known_of_an_equal_layer_is_not_lost_by_an_install(tmp_path: Path) -> None:
    """
    The push of a build that was known failed; the same again, from a Peitho that had built it.
    """
    key = tmp_path / "key.pem"
    private_pem(key)
    async with RegistryDouble.start() as double:
        fabric(double)
        results = BuildResults()
        results.remember(oci.digest_of(package())[7:], "amd64", ORIGIN)
        images = ImageStore(Storage.open(tmp_path / "a"), results, limits=Live(ArchiveLimits()))
        await images.build(NAME, chunks(context()))
        async with peitho(tmp_path / "a", double, key=key, origin=NOWHERE) as ours:
            await ours.build(NAME, chunks(context()))
            assert ORIGIN.builder_id == (await get(ours, NAME)).image.origin.builder_id


async def test_an_image_that_could_not_be_signed_is_told_of_again(tmp_path: Path) -> None:
    """
    If it was pushed meanwhile, and then one is there again that cannot be.
    """
    key = tmp_path / "key.pem"
    private_pem(key)
    async with RegistryDouble.start() as double:
        fabric(double)
        unknown = ImageStore(
            Storage.open(tmp_path / "a"), BuildResults(), limits=Live(ArchiveLimits())
        )
        async with peitho(tmp_path / "a", double, key=key) as ours:
            with structlog.testing.capture_logs() as told:
                await unknown.build(NAME, chunks(context()))
                assert await ours.find(NAME) is None
                await ours.build(NAME, chunks(context()))
                assert await ours.find(NAME) is not None
                double.repositories.clear()
                fabric(double)
                await unknown.build(NAME, chunks(context()))
                assert await ours.find(NAME) is None

    warnings = [each["event"] for each in told if each["log_level"] == "warning"]
    assert ["image not pushed"] * 2 == warnings


@pytest.mark.parametrize(("has_key", "puts"), [(False, 1), (True, 2)])
async def test_a_manifest_is_put_twice_only_to_be_signed_first(
    tmp_path: Path, *, has_key: bool, puts: int
) -> None:
    """
    By its digest, so that nobody finds it by its name yet.
    """
    key = tmp_path / "key.pem"
    private_pem(key)
    async with RegistryDouble.start() as double:
        fabric(double)
        async with peitho(tmp_path / "a", double, key=key if has_key else None) as ours:
            await ours.build(NAME, chunks(context()))
            # Each statement is a manifest and its place in the index; a signed one is two.
            others = 3 if has_key else 2
            assert puts + others == double.count("PUT", "manifest")


async def _normally(_: object) -> None:
    return None
