from pathlib import Path

import pytest

from peitho.clients.disk.storage import Storage
from peitho.core.images import publisher
from peitho.core.images.delivery import DeliveryPublisher
from peitho.core.images.publisher import PublishedImage
from peitho.core.images.store import BuildResults, ImageStore
from peitho.errors import NotFound, PeithoError
from peitho.formats.images.image_record import Image
from peitho.formats.tar import ArchiveLimits
from peitho.settings.live import Live
from tests.support.contexts import chunks, context


@pytest.fixture
def delivery(tmp_path: Path) -> DeliveryPublisher:
    """Delivery from a data directory that has nothing."""
    return DeliveryPublisher(store(tmp_path), try_runtime=there)


def store(tmp_path: Path) -> ImageStore:
    """The images of a data directory."""
    return ImageStore(Storage.open(tmp_path), BuildResults(), limits=Live(ArchiveLimits()))


async def there(_: Image) -> None:
    """A runtime image that nodes have."""


async def nowhere(image: Image) -> None:
    """A runtime image that no node can have."""
    raise PeithoError(f"no {image.runtime}")


async def test_an_image_that_no_node_could_run_is_none(tmp_path: Path) -> None:
    """
    Its peer is told why, and builds it again the next time.
    """
    delivery = DeliveryPublisher(store(tmp_path), try_runtime=nowhere)

    with pytest.raises(PeithoError, match=r"^no hyperledger/fabric-baseos"):
        await delivery.build("mycc", chunks(context()))

    assert await delivery.find("mycc") is None
    assert [] == await delivery.list()
    assert [] == list(Storage.open(tmp_path).images())


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
