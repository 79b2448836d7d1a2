"""
What Go compiled before, so that no package of everybody compiles the standard library again.

It is kept for each builder image, and made by builds of Peitho's own alone (`go_packages`): what a
peer's build compiles is never taken back, since its command is the peer's, and could have written
anything.
"""

import asyncio
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import structlog

from peitho import metrics
from peitho.clients.disk.build_cache import BuildCache
from peitho.core.builds.build import Build
from peitho.formats.bounded_dict import BoundedDict
from peitho.formats.docker.go_packages import INPUT_DIRECTORY

log = structlog.get_logger()

_DIRECTORY = "compiled"
_REMEMBERED = 10_000
# Each build fetches and unpacks all of it, 0.4 s of CPU for 150 MB: past this it is begun anew.
_LARGE_BYTES = 400 * 1024**2

# What a small limit has removed again is not compiled for each build anew.
_AGAIN_SECONDS = 3600.0

# The key of what was compiled, the image that a build ran in, and what it vendors.  Where a tag has
# moved to another image, all is compiled again: Go knows its own versions apart.
_Need = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class _Try:
    """When something was compiled by the loop's clock, or could not be."""

    at_seconds: float
    succeeded: bool

    def is_due(self, now_seconds: float, *, is_there: bool) -> bool:
        """Whether it is to be compiled again, since what came of it has gone."""
        is_long_ago = now_seconds - self.at_seconds > _AGAIN_SECONDS
        return self.succeeded and is_long_ago and not is_there


class CompiledPackages:
    """What Go compiled before, among the kept builds."""

    def __init__(self, cache: BuildCache) -> None:
        self._cache = cache
        self._tried: BoundedDict[_Need, _Try] = BoundedDict(_REMEMBERED)

    async def give(self, build: Build) -> Path | None:
        """Return a tar of what was compiled for the builder image of a build, or None."""
        directory = build.directory / _DIRECTORY
        asked = (build.compiled_key, directory, metrics.COMPILED)
        archive = await asyncio.to_thread(self._cache.give, *asked)
        if archive is None:
            return None
        if build.compiles_ahead and archive.stat().st_size > _LARGE_BYTES:
            return None
        log.info("compiled packages given", build=build.id[:12], bytes=archive.stat().st_size)
        return archive

    def should_follow(self, build: Build) -> bool:
        """
        Whether packages should be compiled ahead once a build is done.

        They should if it asked for them, and what it needs was not compiled ahead yet.
        """
        if not build.lacks_compiled or build.compiles_ahead:
            return False
        if any(upload.path != INPUT_DIRECTORY for upload in build.uploads):
            return False  # it could hide a part of the image
        now_seconds = asyncio.get_running_loop().time()
        is_there = self._cache.has(build.compiled_key)
        tries = [self._tried.get(each) for each in _needs(build)]
        return any(each is None or each.is_due(now_seconds, is_there=is_there) for each in tries)

    def note(self, build: Build, *, succeeded: bool) -> None:
        """Note that what a build that is done needs was compiled ahead, or cannot be."""
        now_seconds = asyncio.get_running_loop().time()
        for each in _needs(build):
            self._tried[each] = _Try(now_seconds, succeeded)


def _needs(build: Build) -> list[_Need]:
    return [(build.compiled_key, build.image_id, each.dependencies) for each in build.uploads]


def compiled_key(image: str, decided: object) -> str:
    """Return the key by which is kept what was compiled; no build of a peer has the same."""
    made_of = ["compiled by Peitho", 1, image, decided]
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()
