"""Peitho's client of registries, held against Debian's docker-registry."""

import asyncio
import dataclasses
import json
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from peitho.clients.disk.storage import Storage
from peitho.clients.registry.api import Registry
from peitho.clients.registry.registries import Registries
from peitho.clients.registry.transport import (
    RegistryCredentials,
    RegistryEndpoint,
    RegistryError,
)
from peitho.clients.registry.uploads import bytes_source
from peitho.clients.retries import RetryPolicy
from peitho.core.images.publisher import get
from peitho.core.images.registry import RegistryPublisher, RegistryPublisherOptions
from peitho.core.images.store import BuildResults, ImageStore
from peitho.errors import Unavailable
from peitho.formats.images import oci
from peitho.formats.images.oci import Descriptor
from peitho.formats.tar import ArchiveLimits
from peitho.settings.live import Live
from tests.lab import images
from tests.lab import registry as lab
from tests.lab.daemon import daemon
from tests.lab.machine import run
from tests.lab.registry import ACCOUNT, Running, TokenServer
from tests.support.accounts import account
from tests.support.contexts import chunks
from tests.support.docker_calls import archive, context

BASE = "hyperledger/fabric-baseos"
NAME = "chaincode/net-peer0.org1-mycc_1-0be83049"
QUICK = RetryPolicy(attempts=4, first_seconds=0.02, longest_seconds=2, jitter_seconds=0)
LARGE = secrets.token_bytes(1 << 20) * 40
KINDS = ("anonymous", "password", "tls", "prefix", "token")


@pytest.fixture(scope="module")
def anonymous(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A registry for anybody."""
    with lab.registry(tmp_path_factory.mktemp("anonymous")) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def token_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TokenServer]:
    """Gives tokens to the account."""
    async with TokenServer.start(tmp_path_factory.mktemp("tokens")) as server:
        yield server


@pytest.fixture(scope="module")
def bearer(
    token_server: TokenServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """A registry that takes tokens."""
    with lab.registry(tmp_path_factory.mktemp("bearer"), auth=token_server.auth) as running:
        yield running


@pytest.fixture
def registry(
    request: pytest.FixtureRequest, anonymous: Running, bearer: Running, tmp_path: Path
) -> Iterator[Running]:
    """One of each kind."""
    match request.param:
        case "anonymous":
            yield anonymous
        case "token":
            yield bearer
        case "password":
            with lab.registry(tmp_path, password=True) as running:
                yield running
        case "tls":
            with lab.registry(tmp_path, password=True, tls=True) as running:
                yield running
        case _:
            with lab.registry(tmp_path, prefix="team/registry") as running:
                yield running


@asynccontextmanager
async def client(
    endpoint: RegistryEndpoint, account: RegistryCredentials | None = ACCOUNT
) -> AsyncIterator[Registry]:
    """Peitho's client."""
    async with Registry.connect(endpoint, lambda: account, patience=QUICK) as made:
        yield made


def blob(content: bytes) -> Descriptor:
    """What a manifest says of a content."""
    return Descriptor(oci.DOCKER_LAYER, oci.digest_of(content), len(content))


async def push(registry: Registry, repository: str, *contents: bytes) -> str:
    """Push an image of these layers; its digest."""
    for each in contents:
        await registry.upload(repository, blob(each), bytes_source(each))
    described = [
        {"mediaType": oci.DOCKER_LAYER, "digest": blob(each).digest, "size": len(each)}
        for each in contents
    ]
    config = described[0] | {"mediaType": oci.DOCKER_CONFIG}
    kind = oci.DOCKER_MANIFEST
    body = json.dumps(
        {"schemaVersion": 2, "mediaType": kind, "config": config, "layers": described}
    ).encode()
    await registry.put_manifest(repository, "latest", media_type=kind, body=body)
    return oci.digest_of(body)


@pytest.mark.parametrize("registry", KINDS, indirect=True)
async def test_an_image_is_pushed_read_and_deleted(registry: Running) -> None:
    """
    Whoever it is for, wherever it is, over TLS and without.
    """
    config = secrets.token_bytes(100)
    async with client(registry.endpoint) as ours:
        assert await ours.digest(NAME, "latest") is None
        digest = await push(ours, NAME, config, LARGE)

        assert digest == await ours.digest(NAME, "latest")
        found = await ours.manifest(NAME, digest)
        assert found is not None
        assert digest == found.digest
        assert config == await ours.small_blob(NAME, blob(config))
        read = [chunk async for chunk in ours.source(NAME, blob(LARGE))(len(LARGE) - 10)]
        assert LARGE[-10:] == b"".join(read)
        assert "present" == await ours.upload(NAME, blob(LARGE), bytes_source(LARGE))

        assert await ours.delete_manifest(NAME, digest)
        assert await ours.digest(NAME, "latest") is None


@pytest.mark.parametrize("registry", ["anonymous", "token"], indirect=True)
async def test_a_blob_of_another_repository_is_mounted(registry: Running) -> None:
    """
    Nothing is sent for it.
    """
    content = secrets.token_bytes(1000)
    async with client(registry.endpoint) as ours:
        assert "sent" == await ours.upload("base", blob(content), bytes_source(content))

        outcome = await ours.upload(
            "chaincode/mounted", blob(content), bytes_source(content), holders=("nobody", "base")
        )

        assert "mounted" == outcome
        assert await ours.has_blob("chaincode/mounted", blob(content).digest)


async def test_a_blob_is_copied_from_one_registry_to_another(
    anonymous: Running, bearer: Running
) -> None:
    """
    As it is read, it is sent.
    """
    content = secrets.token_bytes(1 << 20) * 20
    async with client(anonymous.endpoint) as one, client(bearer.endpoint) as two:
        await one.upload("base", blob(content), bytes_source(content))

        await two.upload("copied", blob(content), one.source("base", blob(content)))

        assert await two.has_blob("copied", blob(content).digest)


@pytest.mark.parametrize("registry", ["password", "token"], indirect=True)
async def test_who_may_not_is_told_in_the_registrys_words(registry: Running) -> None:
    """
    With the registry and the repository, and without the password.
    """
    for credentials in (None, RegistryCredentials("robot", "not-the-password")):
        async with client(registry.endpoint, credentials) as ours:
            with pytest.raises(RegistryError) as raised:
                await ours.upload(NAME, blob(b"a"), bytes_source(b"a"))

        assert 401 == raised.value.code
        assert registry.address in str(raised.value)
        assert "not-the-password" not in str(raised.value)


@pytest.mark.parametrize("registry", ["tls"], indirect=True)
async def test_a_certificate_of_an_unknown_authority_is_refused(registry: Running) -> None:
    """
    At once, with the reason.
    """
    endpoint = dataclasses.replace(registry.endpoint, ca_file=None)
    async with client(endpoint) as ours:
        with pytest.raises(Unavailable, match="certificate verify failed"):
            await ours.digest(NAME, "latest")


async def test_a_token_that_has_ended_is_replaced(
    bearer: Running, token_server: TokenServer
) -> None:
    """
    The registry says so, whatever the token server had said.
    """
    async with client(bearer.endpoint) as ours:
        token_server.seconds = -61  # a minute's grace is docker-registry's own
        try:
            with pytest.raises(RegistryError, match="401"):
                await ours.manifest(NAME, "latest")
        finally:
            token_server.seconds = 60
        assert await ours.manifest("never/pushed", "latest") is None
        assert await ours.manifest(NAME, "nothing") is None


@pytest.mark.parametrize("cut_bytes", [1000, 5 << 20, 20 << 20])
async def test_a_cut_in_the_middle_of_a_blob_is_mended(anonymous: Running, cut_bytes: int) -> None:
    """
    The blob is there in the end, whole, and never before.
    """
    content = secrets.token_bytes(1 << 20) * 40
    name = f"cut/after-{cut_bytes}"
    async with (
        cutting(anonymous.address, after_bytes=cut_bytes, times=2) as (address, cuts),
        client(RegistryEndpoint(address, insecure=True)) as ours,
    ):
        assert "sent" == await ours.upload(name, blob(content), bytes_source(content))

    assert 2 == len(cuts)
    async with client(anonymous.endpoint) as ours:
        assert await ours.has_blob(name, blob(content).digest)


async def test_a_line_that_always_breaks_is_told_and_leaves_no_half_image(
    anonymous: Running,
) -> None:
    """
    Neither blob nor manifest.
    """
    content = secrets.token_bytes(1 << 20) * 40
    async with (
        cutting(anonymous.address, after_bytes=1 << 20, times=999) as (address, _),
        client(RegistryEndpoint(address, insecure=True)) as ours,
    ):
        with pytest.raises(Unavailable, match="cannot be reached: sending"):
            await push(ours, "cut/always", content)

    async with client(anonymous.endpoint) as ours:
        assert not await ours.has_blob("cut/always", blob(content).digest)
        assert await ours.digest("cut/always", "latest") is None


async def test_a_daemon_runs_what_peitho_put_together(anonymous: Running, tmp_path: Path) -> None:
    """
    Pulled by its digest, with the layer as it was pushed, uncompressed.
    """
    script = b"#!/bin/sh\necho it runs\n"
    package = archive({"chaincode": (0o755, script)})
    async with client(anonymous.endpoint, None) as ours:
        await lab.push(ours, images.find(f"docker.io/{BASE}:2.5"), BASE, "2.5")
    storage = Storage.open(tmp_path)
    registries = Registries(anonymous.endpoint, account())
    rewrite = {"hyperledger/*": f"{anonymous.address}/hyperledger/*"}
    local = ImageStore(storage, BuildResults(), limits=Live(ArchiveLimits()))
    target = RegistryPublisherOptions(anonymous.address, "chaincode", "amd64", rewrite)
    async with asyncio.TaskGroup() as group:
        closing = group.create_task(registries.run())
        pushing = RegistryPublisher(local, storage, registries, Live(target))
        await pushing.build("mycc", chunks(context(package)))
        reference = (await get(pushing, "mycc")).reference
        closing.cancel()

    said = await asyncio.to_thread(_run_by_daemon, reference)

    assert ["it runs", "2.5.16"] == said.splitlines()[-2:]


def _run_by_daemon(reference: str) -> str:
    with daemon("registry") as docker:
        run([*docker, "pull", "-q", reference])
        command = ["/bin/sh", "-c", "chaincode; echo $CORE_CHAINCODE_BUILDLEVEL"]
        try:
            return run([*docker, "run", "--rm", "--network=none", reference, *command])
        finally:
            run([*docker, "image", "rm", "-f", reference])


@asynccontextmanager
async def cutting(
    address: str, *, after_bytes: int, times: int
) -> AsyncIterator[tuple[str, list[int]]]:
    """A line to a registry that breaks after so many bytes of a request, a few times."""
    host, _, port = address.partition(":")
    cuts: list[int] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection(host, int(port))
        try:
            async with asyncio.TaskGroup() as group:
                answers = group.create_task(_pass(upstream_reader, writer, None))
                sent = await _pass(
                    reader, upstream_writer, after_bytes if len(cuts) < times else None
                )
                if sent:
                    cuts.append(sent)
                    answers.cancel()
                    writer.transport.abort()
                    upstream_writer.transport.abort()
        finally:
            writer.close()
            upstream_writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", cuts
    finally:
        server.close()


async def _pass(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit_bytes: int | None
) -> int:
    """Pass bytes on; how many there were if the limit was met, else 0 at the end."""
    passed = 0
    try:
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
            passed += len(chunk)
            if limit_bytes is not None and passed >= limit_bytes:
                return passed
        writer.write_eof()
    except OSError:
        pass
    return 0
