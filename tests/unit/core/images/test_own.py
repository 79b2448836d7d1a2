from pathlib import Path

import pytest

from peitho.core.images.delivery import DeliveryPublisher
from peitho.core.images.own import OwnPublisher
from peitho.core.images.publisher import PublishedImage
from peitho.core.tenant import OwnNames, TenantOptions
from peitho.errors import Forbidden, NotFound
from peitho.formats.images.image_record import Image
from peitho.settings.live import Live
from tests.support.contexts import chunks, context
from tests.support.in_process import running

OWN, ANOTHERS = "lab-peer0.acme-mycc-1", "lab-peer0.other-mycc-1"
NAMES = OwnNames(Live(TenantOptions("acme", networks=("lab",), peers=("peer0.acme",))))


async def anything(_image: Image) -> None:
    """Any runtime image will do."""


async def test_images_of_others_are_neither_made_nor_there(tmp_path: Path) -> None:
    """
    Even if one is where this tenant's are: asked for by name, it is not; its own are, by ID too.
    """
    async with running(tmp_path) as peitho:
        all_of_them = DeliveryPublisher(peitho.services.images, try_runtime=anything)
        publisher = OwnPublisher(all_of_them, NAMES)
        await all_of_them.build(ANOTHERS, chunks(context()))

        built = await publisher.build(OWN, chunks(context()))

        with pytest.raises(Forbidden):
            await publisher.build(ANOTHERS, chunks(context()))
        assert await publisher.find(ANOTHERS) is None
        with pytest.raises(NotFound, match=f"^No such image: {ANOTHERS}:latest$"):
            await publisher.remove(ANOTHERS)
        assert PublishedImage(built.image) == await publisher.find(OWN)
        assert PublishedImage(built.image) == await publisher.find(built.image.id)
        assert 2 == len(await publisher.list())
        assert built.image == await publisher.remove(OWN)
