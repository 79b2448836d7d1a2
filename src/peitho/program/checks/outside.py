"""What is outside of the cluster: a registry, a Docker daemon, and the peers of chaincode."""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator

from peitho.clients.docker import Docker
from peitho.clients.kubernetes.api import Kubernetes
from peitho.clients.kubernetes.records import Records
from peitho.clients.registry.api import Registry
from peitho.clients.registry.registries import Registries, RegistryAccount
from peitho.clients.registry.uploads import bytes_source
from peitho.core import relabelling
from peitho.errors import PeithoError
from peitho.formats.images import oci, repositories
from peitho.formats.images.oci import Descriptor
from peitho.formats.kubernetes import labels
from peitho.formats.records import CHAINCODE
from peitho.program import options
from peitho.program.checks.finding import Finding, ok, warning, wrong
from peitho.settings.live import Live
from peitho.settings.models import Settings

_REPOSITORY = "peitho-check"
_CONNECT_SECONDS = 3.0
_MOST_PEERS = 50


async def registry(settings: Settings) -> AsyncIterator[Finding]:
    """Push an image of a few bytes to the registry, pull it, and delete it."""
    account = RegistryAccount(Live(options.registry_account(settings)))
    registries = Registries(
        options.registry_endpoint(settings), account, proxies=options.proxies(settings)
    )
    async with asyncio.TaskGroup() as group:
        running = group.create_task(registries.run(), name="registries")
        try:
            yield await _tried(settings, await registries.own(), has_account=bool(account.read()))
        finally:
            running.cancel()


async def _tried(settings: Settings, own: Registry, *, has_account: bool) -> Finding:
    who = "with the account" if has_account else "as nobody in particular"
    publisher = options.registry_publisher(settings)
    place = repositories.location(_REPOSITORY, server=publisher.host, project=publisher.path)
    try:
        digest = await _pushed(own, place.repository)
        if await own.manifest(place.repository, digest) is None:
            raise PeithoError("what was pushed is not there")  # noqa: TRY301  told as the others
    except PeithoError as error:
        return wrong(
            "registry",
            f"nothing can be pushed to {publisher.host}/{place.repository} {who}: {error}",
            "see to docker.registry: its address, insecure, ca-file, account, and that the project "
            "is there",
        )
    try:
        await own.delete_manifest(place.repository, digest)
    except PeithoError:
        kept = "; it deletes nothing, so images that are removed stay there"
    else:
        kept = ""
    return ok("registry", f"{publisher.host} takes and gives images {who}{kept}")


async def _pushed(own: Registry, repository: str) -> str:
    content = secrets.token_bytes(16)
    config = b"{}"
    described = []
    for media_type, blob in ((oci.OCI_CONFIG, config), (oci.OCI_LAYER, content)):
        descriptor = Descriptor(media_type, oci.digest_of(blob), len(blob))
        await own.upload(repository, descriptor, bytes_source(blob))
        described.append(
            {"mediaType": media_type, "digest": descriptor.digest, "size": descriptor.size}
        )
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": oci.OCI_MANIFEST,
            "config": described[0],
            "layers": described[1:],
        }
    ).encode()
    await own.put_manifest(repository, "check", media_type=oci.OCI_MANIFEST, body=manifest)
    return oci.digest_of(manifest)


async def daemon(settings: Settings, docker: Docker) -> AsyncIterator[Finding]:
    """Tell whether the daemon answers, and whether others on the network may use it, too."""
    endpoint = settings.docker.endpoint
    try:
        about = await docker.version()
    except PeithoError as error:
        yield wrong(
            "Docker daemon",
            str(error),
            "see to docker.endpoint, its certificates, and that the daemon runs",
        )
        return
    said = f"{endpoint} answers: {about.get('Version', '')}, API {about.get('ApiVersion', '')}"
    if endpoint.startswith("tcp:") and not settings.docker.ca_file:
        yield warning(
            "Docker daemon",
            f"{said}; without TLS it is root on its machine for whoever reaches it",
            "set docker.ca-file, cert-file and key-file",
        )
    else:
        yield ok("Docker daemon", said)


async def known_peers(settings: Settings, kubernetes: Kubernetes) -> list[str]:
    """Return the addresses at which chaincode of ours calls its peers."""
    own = labels.kind_labels(settings.peitho.instance, CHAINCODE)
    await relabelling.look(kubernetes, settings.peitho.instance)
    records = await Records(kubernetes).find(own)
    return sorted({record.peer_address for record in records if record.peer_address})


async def peers(settings: Settings, kubernetes: Kubernetes) -> AsyncIterator[Finding]:
    """Connect to each peer that chaincode of ours calls."""
    addresses = await known_peers(settings, kubernetes)
    if not addresses:
        yield ok("peers", "none is known yet: no chaincode was created")
    hosts = options.sweeper(settings).hosts
    async with asyncio.TaskGroup() as group:
        asked = {
            address: group.create_task(_cause(address, hosts.get(_host(address))), name=address)
            for address in addresses[:_MOST_PEERS]
        }
    for address, task in asked.items():
        if cause := task.result():
            yield wrong(
                "peers",
                f"{address} cannot be reached from here: {cause}",
                "see to the peer, to DNS (k8s.dns), and to NetworkPolicies",
            )
        else:
            yield ok("peers", f"{address} is reached")


def _host(address: str) -> str:
    return address.rpartition(":")[0].strip("[]")


async def _cause(address: str, known: str | None) -> str:
    """Why a peer cannot be reached; empty if it can."""
    host, port = known or _host(address), int(address.rpartition(":")[2])
    began = time.monotonic()
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return f"no answer within {time.monotonic() - began:.0f} s"
    except OSError as error:
        return str(error.strerror or error)
    writer.close()
    return ""
