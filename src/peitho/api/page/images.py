"""Images on the page, and the room that the volume has for more."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from peitho.api.page import layout
from peitho.api.page.html import Content, Html, element, joined
from peitho.api.page.layout import Column, Look
from peitho.api.services import Services
from peitho.errors import PeithoError
from peitho.formats import readable
from peitho.formats.images.image_record import Image

PATH = "status/images"

_COLUMNS = (
    Column("Image", is_name=True),
    Column("Digest"),
    Column("Size", is_number=True),
    Column("Architecture"),
    Column("Created"),
    Column("Used"),
    Column("Runtime image"),
)


@dataclass(frozen=True, slots=True)
class AllImages:
    """The images of all tenants, and the volume's bytes; `cause` is why they cannot be told."""

    rows: Sequence[tuple[str, Image]] = ()
    by_name: Mapping[tuple[str, str], Image] = field(default_factory=dict)
    layers_bytes: int = 0
    used_bytes: int = 0
    total_bytes: int = 0
    cause: str = ""

    @classmethod
    async def of(cls, tenants: Mapping[str, Services]) -> "AllImages":
        """Read the records, in threads; those that have not changed are read once."""
        rows: list[tuple[str, Image]] = []
        used_bytes = total_bytes = 0
        try:
            for tenant, parts in tenants.items():
                rows += [(tenant, image) for image in await parts.images.listed()]
                used_bytes, total_bytes = await asyncio.to_thread(parts.storage.volume)
        except (PeithoError, OSError) as error:
            return cls(cause=str(error))
        rows.sort(key=lambda row: (row[1].created, row[1].name), reverse=True)
        layers = {(tenant, image.layer): image.layer_bytes for tenant, image in rows}
        return cls(
            rows,
            {(tenant, image.name): image for tenant, image in rows},
            sum(layers.values()),
            used_bytes,
            total_bytes,
        )


def summary(everything: AllImages) -> str:
    """Return how many there are, in a sentence."""
    if everything.cause:
        return "Images cannot be read"
    return f"Images: {len(everything.rows)}"


def room(everything: AllImages) -> Html:
    """Return how full the volume is."""
    if everything.cause:
        return element("p", everything.cause, class_="notice")
    used, total = everything.used_bytes, everything.total_bytes
    said = (
        f"{readable.size(total - used)} are free of {readable.size(total)} on the volume; "
        f"layers of images have {readable.size(everything.layers_bytes)}."
    )
    meter = element(
        "meter",
        min="0",
        max="100",
        low="80",
        high="90",
        optimum="0",
        value=str(round(100 * used / max(1, total))),
        aria_label="Used part of the volume, in percent",
    )
    return element("p", meter, " ", said)


def listed(look: Look, rows: Sequence[tuple[str, Image]], tenants: Mapping[str, Services]) -> Html:
    """Return the table of some of them."""
    return layout.table(
        "Chaincode images, the latest first",
        look.columns(_COLUMNS),
        [_row(look, tenant, image, tenants[tenant]) for tenant, image in rows],
        none="No image was built yet.",
    )


def _row(look: Look, tenant: str, image: Image, parts: Services) -> list[Content]:
    used_at = parts.usage.used_at(image.name, default=0.0)
    return look.row(
        tenant,
        layout.cut(image.name),
        joined([layout.digest(image.layer)]),
        readable.size(image.layer_bytes),
        image.architecture,
        look.ago(image.created),
        look.ago(datetime.fromtimestamp(used_at, UTC).isoformat()) if used_at else "",
        layout.cut(image.node_image),
    )
