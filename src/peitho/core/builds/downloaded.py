"""
What Maven and Gradle downloaded in a tenant's builds, for those to come, if the operator allows it.

It comes from builds of peers, whose commands could have written anything: whoever builds for a
tenant may change by it what others build for it. No build of another tenant is given it.
"""

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import structlog

from peitho import metrics
from peitho.clients.disk.build_cache import LOG, RESULT, BuildCache, KeptBuild
from peitho.clients.disk.storage import sha256, spool
from peitho.core.builds.build import Build
from peitho.core.images.stored_bytes import StoredBytes
from peitho.errors import PeithoError

log = structlog.get_logger()

_GIVEN = "given-packages"
_TAKEN = "taken-packages"
# Each build fetches, unpacks and copies all of it: past this, what there is stays as it is, until
# it is too old as all that is kept.
_LIMIT_BYTES = 512 * 1024**2


class DownloadedPackages:
    """What Maven and Gradle downloaded, among the kept builds of a tenant."""

    def __init__(self, cache: BuildCache, stored_bytes: StoredBytes | None) -> None:
        self._cache = cache
        self._stored_bytes = stored_bytes

    async def give(self, build: Build) -> Path | None:
        """Return a tar of what was downloaded by builds of the same builder image, or None."""
        build.lacks_packages = True
        directory = build.directory / _GIVEN
        asked = (build.packages_key, directory, metrics.DOWNLOADED)
        archive = await asyncio.to_thread(self._cache.give, *asked)
        if archive:
            log.info("packages given", build=build.id[:12], bytes=archive.stat().st_size)
        return archive

    async def take(self, build: Build, chunks: AsyncIterator[bytes]) -> None:
        """Save a tar of what a build that is done downloaded. Raises InvalidArgument, too large."""
        directory = build.directory / _TAKEN
        directory.mkdir(exist_ok=True)
        part = directory / f"{RESULT}.part"
        await spool(chunks, part, limit_bytes=_LIMIT_BYTES)
        part.rename(directory / RESULT)

    async def keep(self, build: Build) -> None:
        """Keep what a build that is done has left, in place of what was there."""
        directory = build.directory / _TAKEN
        if build.has_failed or not (directory / RESULT).exists():
            return
        try:
            await asyncio.to_thread(self._keep, build, directory)
        except (PeithoError, OSError) as error:
            log.warning("packages not kept", build=build.id[:12], cause=str(error))
        else:
            metrics.DOWNLOADED.labels("kept").inc()

    def _keep(self, build: Build, directory: Path) -> None:
        archive = directory / RESULT
        (directory / LOG).touch()
        size = archive.stat().st_size
        if self._stored_bytes:
            self._stored_bytes.make_room(size)
        kept = KeptBuild(
            sha256(archive), "", build.spec.image, 0.0, time.time(), build.origin.to_json()
        )
        self._cache.keep(build.packages_key, kept, directory)
        log.info("packages kept", build=build.id[:12], image=build.spec.image, bytes=size)


def packages_key(image: str, decided: object) -> str:
    """Return the key by which is kept what was downloaded; no build of a peer has the same."""
    made_of = ["downloaded in builds", 1, image, decided]
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()
