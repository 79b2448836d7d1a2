"""
What only Peitho's Pod has: images and kept builds in its data directory, builds of the process.

From elsewhere the same command is run there, by `kubectl exec`: see `outside`.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from peitho.clients.disk.build_cache import LOG, BuildCache, CacheEntry
from peitho.clients.disk.storage import Storage
from peitho.core.images.usage import ImageUsage
from peitho.errors import InvalidArgument, NotFound, PeithoError, Unavailable
from peitho.formats import certificates, operator_token
from peitho.formats.docker.streams import FrameReader
from peitho.formats.images import image_record
from peitho.formats.readable import duration, size
from peitho.operators.showing import Column, Row, age, column
from peitho.settings import tenants
from peitho.settings.models import Settings


def _time(row: Row) -> str:
    """How long a build has been under way, or since when it is kept."""
    return age(row["started"]) if row["phase"] == "kept" else duration(row["seconds"])


IMAGE_COLUMNS = (
    Column("ID", lambda row: str(row["id"]).removeprefix("sha256:")[:12]),
    Column("SIZE", lambda row: size(row["bytes"])),
    column("ARCH", "architecture"),
    column("TENANT", "tenant", is_wide=True),
    Column("CREATED", lambda row: age(row["created"])),
    Column("USED", lambda row: age(row["used"])),
    column("RUNTIME", "runtime", is_cut=True),
    column("LAYER", "layer", is_wide=True),
    column("NAME", "name"),
)
BUILD_COLUMNS = (
    column("ID", "name"),
    column("PHASE", "phase"),
    Column("TIME", _time),
    column("PEERS", "peers"),
    column("TENANT", "tenant", is_wide=True),
    column("PEER", "peer", is_wide=True),
    column("IMAGE", "image", is_cut=True),
    Column("OUTPUT", lambda row: size(row["outputBytes"])),
    column("LAST LINE", "lastLine", is_cut=True),
)
_ID = re.compile(r"[0-9a-f]{4,64}")
_SECONDS = 10.0
_READ_BYTES = 64 * 1024
_EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104  to ask what listens there, and not to listen


def is_here(settings: Settings) -> bool:
    """Whether this machine, or Pod, has Peitho's data directory."""
    return (settings.data_dir / "images").is_dir()


def could_be_build(asked: str) -> bool:
    """Whether a build may have this ID, or this beginning of one."""
    return _ID.fullmatch(asked) is not None


def images(settings: Settings, tenant: str = "") -> list[Row]:
    """List the images of all tenants, or of one, the latest used first."""
    rows = [row for name, own in _tenants(settings, tenant) for row in _images(name, own.data_dir)]
    return sorted(rows, key=lambda row: str(row["used"]), reverse=True)


async def builds(settings: Settings, tenant: str = "") -> list[Row]:
    """
    List what is under way, and then what is kept, of all tenants or of one.

    Raises Unavailable if no Peitho answers.
    """
    async with _asked(settings, "/builds") as response:
        under_way: list[Row] = await response.json()
    ours = [row for row in under_way if tenant in ("", row["tenant"])]
    return [*ours, *await asyncio.to_thread(lambda: list(_kept(settings, tenant)))]


async def build_log(settings: Settings, asked: str, *, follow: bool) -> AsyncIterator[bytes]:
    """
    Yield what a build says: of one under way by its ID's beginning, of a kept one by its key's.

    Raises NotFound, InvalidArgument where several are meant, Unavailable.
    """
    if not could_be_build(asked):
        raise NotFound(f"No chaincode {asked}: `ps` lists what there is")
    path = f"/builds/{asked}/log{'?follow=1' if follow else ''}"
    try:
        async with _asked(settings, path, seconds=None if follow else _SECONDS) as response:
            async for chunk in response.content.iter_any():
                yield chunk
            return
    except (NotFound, Unavailable):  # a kept one is told, whether or not Peitho runs
        kept = await asyncio.to_thread(_kept_log, settings, asked)
    reader = FrameReader()
    with kept.open("rb") as file:
        while chunk := file.read(_READ_BYTES):
            for _, data in reader.feed(chunk):
                yield data


def _tenants(settings: Settings, wanted: str = "") -> Iterator[tuple[str, Settings]]:
    """The tenants whose data directory is there, or the one that is wanted."""
    for name, own in tenants.each(settings):
        if wanted in ("", name) and is_here(own):
            yield name, own


def _images(tenant: str, data_dir: Path) -> Iterator[Row]:
    storage = Storage(data_dir, looks=True)
    usage = ImageUsage(storage)
    for record in storage.images():
        try:
            image = image_record.from_json(record.content)
        except PeithoError:  # `peitho check-store` tells of it
            continue
        if not record.is_of(image.name):
            continue
        used_at = usage.used_at(image.name, default=0.0)
        used = datetime.fromtimestamp(used_at, UTC).isoformat(timespec="seconds") if used_at else ""
        yield {
            "name": image.name,
            "id": image.id,
            "tenant": tenant,
            "runtime": image.runtime,
            "layer": image.layer,
            "bytes": image.layer_bytes,
            "architecture": image.architecture,
            "created": image.created,
            "used": used,
        }


def _kept(settings: Settings, wanted: str) -> Iterator[Row]:
    for tenant, own in _tenants(settings, wanted):
        for entry in BuildCache(_builds_of(own), looks=True).entries():
            yield _kept_row(tenant, entry)


def _kept_row(tenant: str, entry: CacheEntry) -> Row:
    return {
        "name": entry.key[:12],
        "id": entry.key,
        "tenant": tenant,
        "phase": "kept",
        "image": "",
        "peer": "",
        "peers": 0,
        "seconds": 0.0,
        "started": datetime.fromtimestamp(entry.kept_at, UTC).isoformat(timespec="seconds"),
        "outputBytes": entry.bytes,
        "lastLine": "",
    }


def _kept_log(settings: Settings, asked: str) -> Path:
    folders = [_builds_of(own) for _, own in _tenants(settings)]
    found = {
        entry.key: folder / entry.key / LOG
        for folder in folders
        for entry in BuildCache(folder, looks=True).entries()
        if entry.key.startswith(asked)
    }
    if len(found) > 1:
        raise InvalidArgument(
            f"{asked} may be any of {len(found)} kept builds: give more of the ID"
        )
    if not found:
        raise NotFound(f"No chaincode and no build {asked}: see `ps` and `builds`")
    return next(iter(found.values()))


def _builds_of(settings: Settings) -> Path:
    return settings.data_dir / "builds"


@asynccontextmanager
async def _asked(
    settings: Settings, path: str, *, seconds: float | None = _SECONDS
) -> AsyncIterator[Any]:
    """Ask the Peitho that serves from this data directory. Raises NotFound, Unavailable."""
    listener, tls = settings.server.operations, settings.server.operations_tls
    host, _, port = listener.rpartition(":")
    host = "127.0.0.1" if host.strip("[]") in _EVERYWHERE else host
    scheme = "https" if tls.cert_file else "http"
    key = Storage(settings.data_dir, looks=True).delivery_key()
    headers = {"Authorization": f"Bearer {operator_token.issue(key)}"}
    timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(headers=headers, timeout=timeout) as http,
            http.get(f"{scheme}://{host}:{port}{path}", ssl=_known(tls.cert_file)) as response,
        ):
            if response.status == 404:  # noqa: PLR2004  HTTP's
                raise NotFound(f"No such build, or an earlier Peitho: {path}")
            if response.status != 200:  # noqa: PLR2004  HTTP's
                raise Unavailable(
                    f"Peitho at {host}:{port} answered {response.status}: does it serve from "
                    f"{settings.data_dir} (dataDir)?"
                )
            yield response
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Unavailable(
            f"No Peitho answers at {host}:{port} (server.operations): {error or 'no answer'}. "
            "Does it run, and are these its settings (-c, PEITHO_CONFIG)?"
        ) from error


def _known(certificate: Path | None) -> aiohttp.Fingerprint | bool:
    """
    Return what a listener is known by: the certificate that is in its file.

    It is asked at an address, for which the certificate need not be. Raises Unavailable.
    """
    if certificate is None:
        return True
    try:
        return aiohttp.Fingerprint(certificates.first_digest(certificate.read_bytes()))
    except (OSError, ValueError) as error:
        raise Unavailable(
            f"The certificate of the operations listener cannot be read ({certificate}): {error}"
        ) from error
