from pathlib import Path

import pytest

from peitho.clients.storage import Storage
from peitho.core import publishing
from peitho.core.images import Images, Provenance
from peitho.core.publishing import Delivery, Published
from peitho.errors import NotFound
from peitho.formats.tar import Limits
from tests.unit.core.contexts import chunks, context


@pytest.fixture
def delivery(tmp_path: Path) -> Delivery:
    """Delivery from a data directory that has nothing."""
    return Delivery(Images(Storage.open(tmp_path), Provenance(), limits=Limits()))


async def test_what_is_built_is_reachable_at_once(delivery: Delivery) -> None:
    """
    From Peitho: there is no reference to pull it by.
    """
    image = (await delivery.build("mycc", chunks(context()))).image

    assert Published(image) == await delivery.find("mycc:latest")
    assert Published(image) == await publishing.get(delivery, image.id)
    assert [image] == delivery.list()
    assert image == await delivery.remove("mycc")
    assert await delivery.find("mycc") is None


async def test_an_image_that_is_not_there_is_told_as_peers_match_it(delivery: Delivery) -> None:
    """
    By case.
    """
    with pytest.raises(NotFound, match=r"^No such image: mycc:latest$"):
        await publishing.get(delivery, "mycc")
