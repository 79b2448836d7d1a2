"""
Chaincode images, put together from what a peer sends to `/build`, without any daemon.

The layer is deterministic (no time, sorted), so equal packages share one blob.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, BinaryIO

import structlog

from peitho.clients.disk import archive_reading
from peitho.clients.disk.archive_reading import Reading
from peitho.clients.disk.build_cache import KeptBuild
from peitho.clients.disk.storage import Storage, StoredRecord, sha256, spool
from peitho.clients.disk.verification import Stamp
from peitho.core.clock import now
from peitho.core.images.allowed import AllowedImages
from peitho.core.images.stored_bytes import StoredBytes
from peitho.errors import InvalidArgument, LimitReached, NotFound, PeithoError
from peitho.formats import tar
from peitho.formats.bounded_dict import BoundedDict
from peitho.formats.docker import dockerfile
from peitho.formats.docker.dockerfile import Dockerfile
from peitho.formats.gunzip import unpacked
from peitho.formats.images import image_record, layers, references
from peitho.formats.images.image_record import Image
from peitho.formats.images.origin import NOWHERE, Origin
from peitho.formats.tar import ArchiveLimits, TarEntry
from peitho.formats.tar_members import Content
from peitho.settings.live import Live

log = structlog.get_logger()

_DOCKERFILE_BYTES = 64 * 1024
# A peer's context is a Dockerfile and a package.
_CONTEXT_ENTRIES = 1000
_COPY_BYTES = 1024 * 1024
_REMEMBERED_RESULTS = 1000
_SHORTEST_ID = 12
# Of so many contexts it is remembered what they are, unless that is long.
_CONTENTS = 200
_MOST_ENTRIES = 1000


class BuildResults:
    """
    The architecture and the build that each result was made on and by, by the result's sha256.

    Those of this run are known, and what `kept` finds of a former one.
    """

    def __init__(self, kept: Callable[[str], KeptBuild | None] = lambda _: None) -> None:
        self._kept = kept
        self._results: BoundedDict[str, tuple[str, Origin]] = BoundedDict(_REMEMBERED_RESULTS)

    def remember(self, digest: str, architecture: str, origin: Origin = NOWHERE) -> None:
        """Note the architecture of a result, and its build."""
        self._results[digest] = architecture, origin

    def remember_kept(self, build: KeptBuild) -> None:
        """Note what the record of a kept build tells."""
        self.remember(build.digest, build.architecture, kept_origin(build))

    def find(self, digest: str) -> tuple[str, Origin]:
        """
        Return the architecture and the build, empty and NOWHERE if the result is not known.

        Records on the disk may be read: only threads may wait for it.
        """
        if digest not in self._results and (build := self._kept(digest)):
            self.remember_kept(build)
        return self._results.get(digest, ("", NOWHERE))


def kept_origin(build: KeptBuild) -> Origin:
    """Return what the record of a kept build tells of it; NOWHERE if nothing."""
    try:
        return Origin.from_json(build.origin) if build.origin else NOWHERE
    except (TypeError, ValueError, KeyError):  # of another version of Peitho
        return NOWHERE


@dataclass(frozen=True, slots=True)
class _Content:
    """
    What a context is: its Dockerfile, the layer of what that adds, and the sha256 of that.

    `user` is whom the layer's files belong to.
    """

    recipe: Dockerfile
    user: int | None
    layer: str
    layer_bytes: int
    entries: tuple[str, ...]
    result: str


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """
    An image, and the Dockerfile it was made from.

    `before` is an image of the same name and layer, in whose place it is.
    """

    image: Image
    recipe: Dockerfile
    before: Image | None = None


class ImageStore:
    """
    The chaincode images in the data directory.

    `limits` apply to build contexts, `allowed` to the runtime images that they name, and
    `stored_bytes` to all of it. `prebuilt` tells the image that the result of a build, by its
    sha256, stands for; `user` whom chaincode on a runtime image runs as.
    """

    def __init__(  # noqa: PLR0913  what it keeps, and what holds for it
        self,
        storage: Storage,
        results: BuildResults,
        *,
        limits: Live[ArchiveLimits],
        allowed: AllowedImages | None = None,
        prebuilt: Callable[[str], str] = lambda _: "",
        stored_bytes: StoredBytes | None = None,
        user: Callable[[str], int | None] = lambda _: 0,
    ) -> None:
        self._user = user
        self._prebuilt = prebuilt
        self._allowed = allowed
        self._stored_bytes = stored_bytes
        self._storage = storage
        self._results = results
        self._limits = limits
        # Images are put together in threads: no layer may be removed while its image is saved.  It
        # is held for as long as the disk takes, so only threads may wait for it.
        self._noting = threading.Lock()
        # What contexts are, by their sha256: the peers of an organization send the same bytes, and
        # only the name of the image is another.
        self._contents: BoundedDict[tuple[str, ArchiveLimits], _Content] = BoundedDict(_CONTENTS)
        self._knowing = threading.Lock()
        # Images as they were listed last: a file that has not changed since is not read again.
        self._listed: dict[Path, tuple[Stamp, Image]] = {}

    async def build(self, name: str, context: AsyncIterator[bytes]) -> BuiltImage:
        """
        Put an image together from a build context: a tar of a Dockerfile and what it adds.

        Raises InvalidArgument for another shape of context or Dockerfile, Forbidden for its runtime
        image, LimitReached, StorageFull.
        """
        if references.parse(name).digest:
            raise InvalidArgument("refusing to create a tag with a digest reference")
        limits = self._limits.now  # the same to the end
        async with self._storage.spool_directory("context-") as directory:
            archive = directory / "context"
            await spool(context, archive, limit_bytes=limits.total_bytes)
            built = await self._storage.archives.run(
                partial(self._build, name, archive, directory, limits)
            )
        log.info("image built", image=name, id=built.image.id, bytes=built.image.layer_bytes)
        return built

    def get(self, name: str) -> Image:
        """
        Return the image of that name or ID.

        Raises NotFound with the text that peers match by case.
        """
        image = self.find(name)
        if image is None:
            raise NotFound(f"No such image: {tagged(name)}")
        return image

    def find(self, name: str) -> Image | None:
        """
        Return the record of the image of that name, ID or beginning of an ID, or None.

        Whether its layer is there is another question: see `find_whole`.
        """
        bare = name.removesuffix(":latest")
        if (record := self._storage.image(bare)) and (image := self._read(record)):
            return image
        digits = name.removeprefix("sha256:")
        if len(digits) < _SHORTEST_ID or not set(digits) <= set("0123456789abcdef"):
            return None
        matching = [image for image in self.list() if image.id.startswith(f"sha256:{digits}")]
        return matching[0] if matching else None

    async def find_whole(self, name: str) -> Image | None:
        """
        Return the image of that name, ID or beginning of an ID, if its layer is as it was written.

        An image whose layer is damaged or gone is told as not there, so that peers build it anew.
        """
        return await asyncio.to_thread(self._find_whole, name)

    def list(self) -> list[Image]:
        """List the records of all chaincode images; a damaged one is set aside."""
        found = {}
        for path, stamp in self._storage.image_files():
            known = self._listed.get(path)
            image = known[1] if known and known[0] == stamp else self._read_file(path)
            if image:
                found[path] = stamp, image
        self._listed = found
        return [image for _, image in found.values()]

    async def listed(self) -> Sequence[Image]:
        """List the same in a thread: there may be thousands of files to look at."""
        return await asyncio.to_thread(self.list)

    async def listed_whole(self) -> Sequence[Image]:
        """List those whose layer is there with all its bytes."""
        return await asyncio.to_thread(self._list_whole)

    async def remove(self, name: str) -> Image:
        """Remove an image, and its layer if no other image has it. Raises NotFound."""
        image = await asyncio.to_thread(self._remove, name)
        log.info("image removed", image=image.name)
        return image

    async def forget(self, image: Image, before: Image | None = None) -> None:
        """
        Remove an image that was just made, unless another image took its name.

        If one of its layer was there `before`, that is what remains.
        """
        await asyncio.to_thread(self._forget, image, before)

    async def note_runtime(self, image: Image, runtime_id: str) -> Image:
        """Note the digest of the runtime image on which an image was tried; return the image."""
        return await asyncio.to_thread(self._note_runtime, image, runtime_id)

    def _note_runtime(self, image: Image, runtime_id: str) -> Image:
        noted = replace(image, runtime_id=runtime_id)
        with self._noting:
            if self.find(image.name) == image:
                self._storage.save_image(image.name, image_record.to_json(noted))
        return noted

    def _build(
        self, name: str, archive: Path, directory: Path, limits: ArchiveLimits, reading: Reading
    ) -> BuiltImage:
        key = archive_reading.digest(archive, reading), limits
        content = self._known_content(key)
        if content is None:
            content = self._put_together(archive, directory, limits, reading)
        elif self._allowed:
            self._allowed.check(content.recipe.base)
        while not (noted := self._note(self._image(name, content))):  # its layer is gone by now
            content = self._put_together(archive, directory, limits, reading)
        image, before = noted
        if len(content.entries) <= _MOST_ENTRIES:
            with self._knowing:
                self._contents[key] = content
        return BuiltImage(image=image, recipe=content.recipe, before=before)

    def _known_content(self, key: tuple[str, ArchiveLimits]) -> "_Content | None":
        """Return what a context of these bytes is, if its layer is there and whole."""
        with self._knowing:
            content = self._contents.get(key)
        if content is None or content.user != self._user(content.recipe.base):
            return None  # files of a layer belong to the user that runs it
        return content if self._storage.verified_blob(content.layer) else None

    def _put_together(
        self, archive: Path, directory: Path, limits: ArchiveLimits, reading: Reading
    ) -> "_Content":
        with reading.open(archive) as context:
            recipe, added = _unpack_context(context, directory, limits, reading)
        if self._allowed:
            self._allowed.check(recipe.base)
        user = self._user(recipe.base)
        entries: list[TarEntry] = []

        def write(layer: BinaryIO) -> None:
            with reading.open(added) as content:
                entries.extend(
                    layers.write(
                        content,
                        layer,
                        directory=recipe.add_directory,
                        limits=limits,
                        user=user,
                    )
                )

        layer, size = self._storage.add_blob(write)
        first = _first_level(entries, recipe.add_directory)
        return _Content(recipe, user, layer, size, first, result=sha256(added))

    def _image(self, name: str, content: "_Content") -> Image:
        architecture, origin = self._results.find(content.result)
        return Image(
            name=name.removesuffix(":latest"),
            runtime=content.recipe.base,
            layer=content.layer,
            layer_bytes=content.layer_bytes,
            directory=content.recipe.add_directory,
            entries=content.entries,
            labels=content.recipe.labels,
            env=content.recipe.env,
            architecture=architecture,
            created=now(),
            prebuilt=self._prebuilt(content.result),
            origin=origin,
        )

    def _read_file(self, path: Path) -> Image | None:
        record = self._storage.image_at(path)
        return self._read(record) if record else None

    def _read(self, record: StoredRecord) -> Image | None:
        try:
            image = image_record.from_json(record.content)
        except PeithoError as error:
            self._storage.set_image_aside(record, str(error))
            return None
        if not record.is_of(image.name):
            self._storage.set_image_aside(record, f"it is the record of {image.name}")
            return None
        return image

    def _list_whole(self) -> Sequence[Image]:
        found = self.list()
        sizes = {layer: self._storage.blob_bytes(layer) for layer in {each.layer for each in found}}
        return [image for image in found if sizes[image.layer] == image.layer_bytes]

    def _find_whole(self, name: str) -> Image | None:
        while image := self.find(name):
            if self._storage.verified_blob(image.layer):
                return image
            if self.find(name) == image:  # else it was replaced meanwhile, layer and all
                log.warning("image has no layer", image=image.name, layer=image.layer)
                return None
        return None

    def _remove(self, name: str) -> Image:
        with self._noting:
            image = self.get(name)
            self._drop(image)
        return image

    def _forget(self, image: Image, before: Image | None) -> None:
        with self._noting:
            if self.find(image.name) != image:
                return
            if before:  # its layer is the same
                self._storage.save_image(before.name, image_record.to_json(before))
            else:
                self._drop(image)

    def _drop(self, image: Image) -> None:
        self._storage.remove_image(image.name)
        self._drop_layer(image.layer)

    def _note(self, image: Image) -> tuple[Image, Image | None] | None:
        """
        Save an image's record; return it, and that of its layer which it replaces.

        None if its layer was removed meanwhile.
        """
        with self._noting:
            if self._storage.blob(image.layer) is None:
                return None
            replaced = self.find(image.name)
            self._check_room(image, replaced)
            before = replaced if replaced and replaced.layer == image.layer else None
            if before and image.origin == NOWHERE:  # what is known of the layer's build is true
                image = replace(image, origin=before.origin, architecture=before.architecture)
            self._storage.save_image(image.name, image_record.to_json(image))
            if replaced:
                self._drop_layer(replaced.layer)
            return image, before

    def _check_room(self, image: Image, replaced: Image | None) -> None:
        """Let go of a layer that is too much for the limit. Raises LimitReached."""
        others = [other for other in self.list() if other != replaced]
        if self._stored_bytes is None or any(other.layer == image.layer for other in others):
            return
        freed = replaced and all(other.layer != replaced.layer for other in others)
        freed_bytes = replaced.layer_bytes if replaced and freed else 0
        if replaced and replaced.layer == image.layer:
            return
        try:
            self._stored_bytes.make_room(-freed_bytes)
        except LimitReached:
            self._drop_layer(image.layer)
            raise

    def _drop_layer(self, layer: str) -> None:
        """Remove a layer, unless an image has it."""
        if all(other.layer != layer for other in self.list()):
            self._storage.remove_blob(layer)


def _unpack_context(
    context: BinaryIO, directory: Path, limits: ArchiveLimits, reading: Reading
) -> tuple[Dockerfile, Path]:
    """Return the parsed Dockerfile, and the archive that it adds, not compressed."""
    text = ""
    files: dict[str, Path] = {}
    few = replace(limits, entries=min(limits.entries, _CONTEXT_ENTRIES))
    for entry, content in tar.read(context, limits=few):
        if content is None:
            continue
        if entry.name == "Dockerfile":
            if entry.size > _DOCKERFILE_BYTES:
                raise InvalidArgument(f"the Dockerfile has more than {_DOCKERFILE_BYTES} bytes")
            text = _text(content.read(_DOCKERFILE_BYTES))
        else:
            files[entry.name] = _copy(content, directory / f"file-{len(files)}")
    if not text:
        raise InvalidArgument("Cannot locate specified Dockerfile: Dockerfile")
    recipe = dockerfile.parse(text)
    if recipe.add_source not in files:
        raise InvalidArgument(f"ADD failed: {recipe.add_source} is not in the build context")
    with (
        reading.open(files[recipe.add_source]) as added,
        unpacked(added, limit_bytes=limits.stream_bytes) as plain,
    ):
        if plain is added:
            return recipe, files[recipe.add_source]
        return recipe, _copy(plain, directory / "added")


def _text(dockerfile: bytes) -> str:
    try:
        return dockerfile.decode()
    except UnicodeDecodeError as error:
        raise InvalidArgument("the Dockerfile is no UTF-8 text") from error


def _copy(source: Content | IO[bytes], path: Path) -> Path:
    with path.open("wb") as target:
        while chunk := source.read(_COPY_BYTES):
            target.write(chunk)
    return path


def _first_level(entries: list[TarEntry], directory: str) -> tuple[str, ...]:
    """What is in the directory itself; nothing if one of it cannot be mounted by itself."""
    prefix = f"{directory.strip('/')}/".lstrip("/")
    below = [
        replace(entry, name=entry.name.removeprefix(prefix))
        for entry in entries
        if entry.name.startswith(prefix)
    ]
    if any(entry.kind in ("symlink", "fifo") and "/" not in entry.name for entry in below):
        return ()
    return tuple(sorted({entry.name.partition("/")[0] for entry in below if entry.name}))


def tagged(name: str) -> str:
    """Return `NAME:latest` for a name without tag or digest, as dockerd shows it."""
    last = name.rpartition("/")[2]
    return name if ":" in last or "@" in last else f"{name}:latest"
