from pathlib import Path

import pytest

from peitho.clients.disk.storage import Storage
from peitho.core.images import publisher
from peitho.core.images.delivery import DeliveryPublisher
from peitho.core.images.publisher import PublishedImage
from peitho.core.images.store import ImageStore, ResultArchitectures
from peitho.errors import NotFound
from peitho.formats.tar import ArchiveLimits
from peitho.settings.live import Live
from tests.support.contexts import chunks, context


@pytest.fixture
def delivery(tmp_path: Path) -> DeliveryPublisher:
    """Delivery from a data directory that has nothing."""
    return DeliveryPublisher(
        ImageStore(Storage.open(tmp_path), ResultArchitectures(), limits=Live(ArchiveLimits()))
    )


async def test_what_is_built_is_reachable_at_once(delivery: DeliveryPublisher) -> None:
    """
    From Peitho: there is no reference to pull it by.
    """
    image = (await delivery.build("mycc", chunks(context()))).image

    assert PublishedImage(image) == await delivery.find("mycc:latest")
    assert PublishedImage(image) == await publisher.get(delivery, image.id)
    assert [image] == await delivery.list()
    assert image == await delivery.remove("mycc")
    assert await delivery.find("mycc") is None


async def test_an_image_that_is_not_there_is_told_as_peers_match_it(
    delivery: DeliveryPublisher,
) -> None:
    """
    By case.
    """
    with pytest.raises(NotFound, match=r"^No such image: mycc:latest$"):
        await publisher.get(delivery, "mycc")
