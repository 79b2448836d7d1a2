import json
from dataclasses import replace
from pathlib import Path

import pytest

from peitho.clients.disk.storage import Storage
from peitho.errors import NotFound
from peitho.formats.images import image_record
from peitho.formats.images.origin import Origin
from peitho.operators import proving
from peitho.settings.models import Settings
from tests.support.contexts import chunks, context
from tests.support.in_process import running

ORIGIN = Origin(build_id="b1", builder="ccenv", builder_id="sha256:" + "cc" * 32)


async def said(settings: Settings, image: str) -> bytes:
    """What the command prints."""
    return b"".join([each async for each in proving.provenance(settings, image)])


async def test_an_image_of_the_data_directory_is_told_of(tmp_path: Path) -> None:
    """
    By its name, or by its ID.
    """
    async with running(tmp_path) as peitho:
        built = await peitho.services.images.build("mycc", chunks(context()))
    image = replace(built.image, origin=ORIGIN)
    Storage(tmp_path / "data").save_image("mycc", image_record.to_json(image))
    settings = Settings.model_validate({"dataDir": tmp_path / "data"})

    statement = json.loads(await said(settings, "mycc"))

    assert [{"name": "mycc", "digest": {"sha256": image.layer[7:]}}] == statement["subject"]
    assert "b1" == statement["predicate"]["runDetails"]["metadata"]["invocationId"]
    assert statement == json.loads(await said(settings, image.id))


async def test_an_image_that_is_not_there_is_told(tmp_path: Path) -> None:
    """
    In Docker's words.
    """
    (tmp_path / "data/images").mkdir(parents=True)
    settings = Settings.model_validate({"dataDir": tmp_path / "data"})

    with pytest.raises(NotFound, match="No such image: nosuch"):
        await said(settings, "nosuch")
