"""What Peitho signs is verified by the real cosign, and what the real cosign signs by Peitho."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from peitho.clients.disk.storage import Storage
from peitho.clients.registry.registries import Registries
from peitho.core.images.allowed import AllowedImages
from peitho.core.images.attestations import AttestationOptions, Attestations
from peitho.core.images.prebuilt import PrebuiltImages, PrebuiltOptions
from peitho.core.images.publisher import get
from peitho.core.images.registry import RegistryPublisher, RegistryPublisherOptions
from peitho.core.images.store import BuildResults, ImageStore
from peitho.errors import Forbidden
from peitho.formats.images import oci, provenance
from peitho.formats.images.origin import Origin, Source
from peitho.formats.tar import ArchiveLimits
from peitho.settings.live import Live
from tests.lab import cosign as lab_cosign
from tests.lab import images
from tests.lab import registry as lab
from tests.lab.registry import Running
from tests.support.accounts import account
from tests.support.contexts import chunks, context, package

NAME = "net-peer0.org1-mycc_1-0be83049"
BUILDER = "docker.io/hyperledger/fabric-ccenv@sha256:" + "cc" * 32
ORIGIN = Origin(
    build_id="b1",
    builder="hyperledger/fabric-ccenv:2.5",
    builder_id=BUILDER,
    command=("/bin/sh", "-c", "go build"),
    sources=(Source("/chaincode/input", "aa" * 32, "bb" * 32, {"src/go.sum": "dd" * 32}),),
)
OFFLINE = ("--insecure-ignore-tlog=true", "--allow-http-registry=true")


@pytest.fixture(scope="module")
def binary() -> Path:
    """The real cosign; a new machine builds it."""
    return lab_cosign.build()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Debian's docker-registry, which lists no referrers itself."""
    with lab.registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@asynccontextmanager
async def opened(registry: Running) -> AsyncIterator[Registries]:
    """Peitho's clients of registries, while it runs."""
    registries = Registries(registry.endpoint, account())
    async with asyncio.TaskGroup() as group:
        running = group.create_task(registries.run())
        try:
            yield registries
        finally:
            running.cancel()


@asynccontextmanager
async def pushed(registry: Running, folder: Path, key: Path | None) -> AsyncIterator[str]:
    """An image whose build is known, in the registry: its reference."""
    storage, results = Storage.open(folder / "data"), BuildResults()
    results.remember(oci.digest_of(package())[7:], "amd64", ORIGIN)
    rewrite = {"hyperledger/*": f"{registry.address}/hyperledger/*"}
    options = RegistryPublisherOptions(registry.address, "chaincode", "amd64", rewrite)
    async with opened(registry) as registries:
        publisher = RegistryPublisher(
            ImageStore(storage, results, limits=Live(ArchiveLimits())),
            storage,
            registries,
            Live(options),
            attestations=Attestations(Live(AttestationOptions("urn:peitho:test", key))),
        )
        own = await registries.own()
        image = images.find("docker.io/hyperledger/fabric-baseos:2.5")
        await lab.push(own, image, "hyperledger/fabric-baseos", "2.5")
        await publisher.build(NAME, chunks(context()))
        yield (await get(publisher, NAME)).reference


def keys(folder: Path) -> tuple[Path, Path]:
    """A key that openssl would make too, and its public half."""
    private = ec.generate_private_key(ec.SECP256R1())
    ours, public = folder / "peitho.key", folder / "peitho.pub"
    ours.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    public.write_bytes(
        private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return ours, public


async def test_cosign_verifies_what_peitho_says(
    binary: Path, registry: Running, tmp_path: Path
) -> None:
    """
    By the key alone, and by no other; the statement tells builder and source.
    """
    key, public = keys(tmp_path)
    (tmp_path / "other").mkdir()
    _, other = keys(tmp_path / "other")
    async with pushed(registry, tmp_path, key) as reference:
        said = [
            await asyncio.to_thread(
                lab_cosign.cosign,
                *(binary, tmp_path, "verify-attestation", "--key", str(each)),
                *("--type", "slsaprovenance1", *OFFLINE, reference),
            )
            for each in (public, other)
        ]
    assert 0 == said[0].returncode, said[0].stderr
    assert 0 != said[1].returncode
    envelope = json.loads(said[0].stdout.splitlines()[0])
    told = provenance.read(base64.b64decode(envelope["payload"]))
    assert (ORIGIN.builder, BUILDER) == (told.builder, told.builder_id)
    assert "/hyperledger/fabric-baseos:2.5@sha256:" in told.runtime_id


async def test_an_image_that_cosign_signs_is_signed(
    binary: Path, registry: Running, tmp_path: Path
) -> None:
    """
    With a key pair of cosign's own; before that, and by another key, it is not.
    """
    async with pushed(registry, tmp_path, None) as reference, opened(registry) as registries:
        made = lab_cosign.cosign(binary, tmp_path, "generate-key-pair")
        assert 0 == made.returncode, made.stderr
        (tmp_path / "other").mkdir()
        _, other = keys(tmp_path / "other")

        async def is_signed(key: Path) -> bool:
            options = PrebuiltOptions(keys=(key,))
            prebuilt = PrebuiltImages(AllowedImages(Live(("*",))), registries, Live(options))
            try:
                await prebuilt.require(reference)
            except Forbidden:
                return False
            return True

        assert not await is_signed(tmp_path / "cosign.pub")
        words = ("sign", "--key", "cosign.key", "--tlog-upload=false", "--yes", reference)
        done = await asyncio.to_thread(
            lab_cosign.cosign, binary, tmp_path, *words, "--allow-http-registry=true"
        )
        assert 0 == done.returncode, done.stderr
        assert await is_signed(tmp_path / "cosign.pub")
        assert not await is_signed(other)
