"""The provenance of chaincode images: of the data directory, or beside an image in its registry."""

import asyncio
import json
from collections.abc import AsyncIterator

from peitho.clients.disk.storage import Storage
from peitho.clients.registry.api import Registry
from peitho.clients.registry.registries import RegistryAccount
from peitho.core.images.attestations import Attestations
from peitho.core.images.store import BuildResults, ImageStore
from peitho.errors import NotFound
from peitho.formats.images import provenance as statements
from peitho.formats.images import repositories
from peitho.formats.images.image_record import Image
from peitho.formats.images.provenance import Subject
from peitho.operators import inside
from peitho.program import options
from peitho.settings import tenants
from peitho.settings.live import Live
from peitho.settings.models import Settings


async def provenance(settings: Settings, asked: str, tenant: str = "") -> AsyncIterator[bytes]:
    """Yield the statement about an image, of all tenants' or of one's. Raises NotFound."""
    for name, own in tenants.each(settings):
        if tenant not in ("", name):
            continue
        if statement := await _statement(own, asked):
            yield json.dumps(json.loads(statement), indent=2).encode() + b"\n"
            return
    raise NotFound(f"No such image: {asked} (`peitho images` lists those of the data directory)")


async def _statement(settings: Settings, asked: str) -> bytes | None:
    if inside.is_here(settings):
        image = await asyncio.to_thread(_kept, settings, asked)
        if image:
            return statements.statement(
                image,
                [Subject(image.name, image.layer)],
                builder_id=options.attestations(settings).builder_id,
            )
    if settings.peitho.image_mode != "registry":
        return None
    return await _beside(settings, asked)


def _kept(settings: Settings, asked: str) -> Image | None:
    store = ImageStore(
        Storage(settings.data_dir, looks=True),
        BuildResults(),
        limits=Live(options.archive_limits(settings)),
    )
    return store.find(asked)


async def _beside(settings: Settings, asked: str) -> bytes | None:
    """Return what is said beside an image in the registry, by this Peitho or another."""
    place = options.registry_publisher(settings)
    where = repositories.location(
        asked.removesuffix(":latest"), server=place.host, project=place.path
    )
    account = RegistryAccount(Live(options.registry_account(settings)))
    endpoint = options.registry_endpoint(settings)
    proxies = options.proxies(settings)
    async with Registry.connect(endpoint, account.read, proxies=proxies) as registry:
        digest = await registry.digest(where.repository, where.tag)
        if digest is None:
            return None
        found = await Attestations(Live(options.attestations(settings))).find(
            registry, where.repository, digest
        )
    if found is None:
        raise NotFound(
            f"Nothing is said of {asked} beside it in {place.host}: it was pushed without its "
            "build being known, or by an earlier Peitho"
        )
    return found
