"""
Publishing in a registry: one layer is put on the runtime image, pushed, and run by digest.

The registry is the store: what it holds is known after a restart, and to every Peitho. The data
directory has an image only until it is pushed.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from weakref import WeakValueDictionary

import structlog

from peitho.clients.disk.storage import Storage
from peitho.clients.registry.api import Registry
from peitho.clients.registry.registries import Registries
from peitho.clients.registry.transport import RegistryCredentials, RegistryError
from peitho.clients.registry.uploads import BlobSource, bytes_source, file_source
from peitho.core.images.attestations import Attestations, UnsignedError
from peitho.core.images.publisher import PublishedImage, get
from peitho.core.images.pull_accounts import PullAccounts, Readers
from peitho.core.images.store import BuiltImage, ImageStore
from peitho.errors import InvalidArgument, PeithoError, Unavailable, Unsupported
from peitho.formats.bounded_dict import BoundedDict
from peitho.formats.docker.registry_auth import NOBODY, RegistryAuth, RegistryAuths
from peitho.formats.images import oci, references, repositories
from peitho.formats.images.image_record import Image
from peitho.formats.images.oci import ChaincodeManifest, Descriptor, RuntimeImage
from peitho.formats.images.references import Reference
from peitho.formats.images.repositories import ImageLocation
from peitho.settings.live import Live

log = structlog.get_logger()

# This repository has all blobs that were sent, so that others can mount them from it.
_SHARED = "peitho-shared"
_ID = re.compile(r"(sha256:)?([0-9a-f]{12,64})")
_REMEMBERED = 1000
_NOT_ALLOWED = 405


@dataclass(frozen=True, slots=True)
class RegistryPublisherOptions:
    """
    Where images are pushed, and what they are made of.

    `server` is the registry as nodes read it; `architecture` counts for images whose build's is not
    known; `rewrite` replaces runtime images that peers name.
    """

    server: str
    project: str
    architecture: str
    rewrite: Mapping[str, str]

    @property
    def host(self) -> str:
        """The host of the registry, as a reference has it."""
        return repositories.split_server(self.server)[0]

    @property
    def path(self) -> str:
        """The path above all repositories; may be empty."""
        _, above = repositories.split_server(self.server)
        return "/".join(part for part in (above, self.project) if part)


class RegistryPublisher:
    """
    Publishes images by pushing them to a registry, and with each what is told of its build.

    `try_prebuilt` raises PeithoError if nodes cannot have an image that one stands for.
    """

    def __init__(  # noqa: PLR0913  what an image is made of, and what is told of it
        self,
        images: ImageStore,
        storage: Storage,
        registries: Registries,
        options: Live[RegistryPublisherOptions],
        *,
        try_prebuilt: Callable[[Image], Awaitable[object]] | None = None,
        attestations: Attestations | None = None,
        pull_accounts: PullAccounts | None = None,
    ) -> None:
        self._pull_accounts = pull_accounts
        self._try_prebuilt = try_prebuilt
        self._attestations = attestations
        self._images = images
        self._storage = storage
        self._registries = registries
        self._options = options
        self._known: BoundedDict[str, PublishedImage] = BoundedDict(_REMEMBERED)
        self._unsigned: BoundedDict[str, str] = BoundedDict(_REMEMBERED)  # layers that were told
        self._bases: BoundedDict[tuple[str, str], tuple[str, RuntimeImage]] = BoundedDict(
            _REMEMBERED
        )
        self._holders: BoundedDict[str, str] = BoundedDict(_REMEMBERED)
        self._sending: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._in_flight = 0
        self._pushed: list[Image] = []

    async def build(
        self, name: str, context: AsyncIterator[bytes], auths: RegistryAuths = NOBODY
    ) -> BuiltImage:
        """
        Put an image together and push it; its runtime image is read with the caller's account.

        Raises what `ImageStore.build` raises, RegistryError, Unavailable.
        """
        async with self._in_data_directory():
            built = await self._images.build(name, context)
            if built.image.prebuilt and self._try_prebuilt:
                await self._require(built.image, self._try_prebuilt)
            try:
                published = await self._push(built.image, auths)
            # Without the account, or unsigned, it cannot be pushed later: its peer builds it.
            except UnsignedError:  # what was there before can be once no signature is asked for
                await self._images.forget(built.image, built.before)
                raise
            except PeithoError:
                if auths.of(self._runtime(built.image).domain):
                    await self._images.forget(built.image)
                raise
        return BuiltImage(published.image, built.recipe)

    async def find(self, name: str) -> PublishedImage | None:
        """
        Return the image of that name in the registry, whoever pushed it; by ID only known ones.

        If the registry is away, what is known counts: nodes may have pulled it before.
        """
        name = name.removesuffix(":latest")
        if published := self._by_id(name):
            return published
        try:
            location = self._location(name)
        except InvalidArgument:
            return None
        registry = await self._registries.own()
        try:
            digest = await registry.digest(location.repository, location.tag)
        except Unavailable as error:
            if known := self._known.get(name):
                log.warning("registry not asked", image=name, cause=str(error))
                return known
            raise
        if digest is None:
            self._known.pop(name, None)
            return await self._push_kept(name)
        known = self._known.get(name)
        if known and known.reference == self._reference(location, digest):
            return known
        return await self._read(registry, location, name, digest)

    async def list(self) -> Sequence[Image]:
        """List what was pushed or asked for in this run; a registry need not list images."""
        return [published.image for published in self._known.values()]

    async def remove(self, name: str) -> Image:
        """
        Delete an image in the registry.

        Raises NotFound, Unsupported where the registry does not delete.
        """
        published = await get(self, name)
        location = self._location(published.image.name)
        registry = await self._registries.own()
        try:
            digest = published.reference.rpartition("@")[2]
            await registry.delete_manifest(location.repository, digest)
            if self._attestations:  # last: an image that stays keeps what is said of it
                image = Descriptor(oci.OCI_MANIFEST, digest, 0)
                await self._attestations.remove(registry, location.repository, image)
        except RegistryError as error:
            if error.code == _NOT_ALLOWED:
                raise Unsupported(f"the registry does not delete images: {error}") from error
            raise
        self._known.pop(published.image.name, None)
        log.info("image deleted", image=published.image.name, reference=published.reference)
        return published.image

    async def _require(
        self, image: Image, try_prebuilt: Callable[[Image], Awaitable[object]]
    ) -> None:
        try:
            await try_prebuilt(image)
        except PeithoError:
            await self._images.forget(image)
            raise

    async def _push_kept(self, name: str) -> PublishedImage | None:
        """Push an image that is in the data directory: a push failed, or the mode was delivery."""
        image = await self._images.find_whole(name)
        if image is None:
            return None
        async with self._in_data_directory():
            try:
                return await self._push(image)
            except UnsignedError as error:
                if self._unsigned.get(image.name) != image.layer:
                    log.warning("image not pushed", image=image.name, cause=str(error))
                self._unsigned[image.name] = image.layer
                return None

    async def _push(self, kept: Image, auths: RegistryAuths = NOBODY) -> PublishedImage:
        location = self._location(kept.name)
        registry = await self._registries.own()
        origin = await self._origin(kept, auths)
        image = oci.normalized(kept, architecture=origin.base.architecture)
        appended = oci.append(origin.base, image)
        image = replace(image, runtime_id=origin.image_id, origin=kept.origin)
        published = PublishedImage(image, self._reference(location, appended.digest))
        if self._attestations:
            await self._attestations.require(registry, published, appended.descriptor)
        is_there = await registry.digest(location.repository, location.tag) == appended.digest
        if not is_there:
            own = await self._own_layer(kept)
            layers = (*_base_layers(origin, registry), own)
            await self._send(registry, location, layers, appended)
        is_signed = self._attestations is not None and self._attestations.signs
        if not is_there:  # by its digest first: until it is signed, nobody finds it by its name
            reference = appended.digest if is_signed else location.tag
            await _put(registry, location, reference, appended)
        if self._attestations:
            await self._attestations.push(registry, published, appended.descriptor)
        if is_signed and not is_there:
            await _put(registry, location, location.tag, appended)
        self._known[image.name] = published
        self._unsigned.pop(kept.name, None)
        self._pushed.append(kept)
        log.info("image pushed", image=image.name, reference=published.reference)
        return published

    async def _send(
        self,
        registry: Registry,
        location: ImageLocation,
        layers: "tuple[_Blob, ...]",
        appended: ChaincodeManifest,
    ) -> None:
        """Send all blobs: until the manifest is there, too, there is no image."""
        content = appended.config
        config = Descriptor(oci.OCI_CONFIG, oci.digest_of(content), len(content))
        try:
            async with asyncio.TaskGroup() as group:
                for layer in layers:
                    group.create_task(self._have(registry, location.repository, layer))
                group.create_task(
                    registry.upload(location.repository, config, bytes_source(content))
                )
        except ExceptionGroup as raised:
            raise raised.exceptions[0] from raised

    async def _have(self, registry: Registry, repository: str, blob: "_Blob") -> None:
        """Make sure a repository has a layer; two that need the same do not both send it."""
        digest = blob.descriptor.digest
        async with self._sending.setdefault(digest, asyncio.Lock()):
            known = self._holders.get(digest)
            holders = (*blob.holders, *([known] if known else []), self._shared)
            outcome = await registry.upload(
                repository, blob.descriptor, blob.source, holders=holders
            )
            self._holders[digest] = repository
        if outcome == "sent":
            with suppress(Unavailable):
                await registry.mount(self._shared, digest, repository)

    async def _own_layer(self, image: Image) -> "_Blob":
        """Return the layer of an image, read whole before it is sent."""
        path = await asyncio.to_thread(self._storage.verified_blob, image.layer, anew=True)
        if path is None:
            raise PeithoError(
                f"the layer of {image.name} is damaged or gone from the data directory: "
                "install the package again"
            )
        own = Descriptor(oci.OCI_LAYER, image.layer, image.layer_bytes)
        return _Blob(own, file_source(path), ())

    def _runtime(self, image: Image) -> Reference:
        return references.parse(references.rewritten(image.runtime, self._options.now.rewrite))

    async def _origin(self, image: Image, auths: RegistryAuths) -> "_Origin":
        """Return the runtime image that its tag names, now or when its registry was last there."""
        reference = self._runtime(image)
        name = references.rewritten(image.runtime, self._options.now.rewrite)
        architecture = image.architecture or self._options.now.architecture
        if account := auths.of(reference.domain):
            return await self._origin_for(account, reference, architecture)
        readers = await self._readers(reference)
        key = (reference.full(), architecture)
        registry = readers.registries[0]
        try:
            registry, known = await readers.first(
                lambda seen: _read_base(seen, reference, architecture, self._bases.get(key))
            )
            self._bases[key] = known
        except (Unavailable, RegistryError) as error:
            if key not in self._bases:
                raise
            log.warning("runtime image not asked for", image=name, cause=str(error))
        except PeithoError as error:
            raise PeithoError(f"cannot put a layer on {name}: {error}") from error
        digest, base = self._bases[key]
        return _Origin(registry, reference.repository, base, f"{reference.full()}@{digest}")

    async def _readers(self, reference: Reference) -> Readers:
        if self._pull_accounts:
            return await self._pull_accounts.readers(self._registries, reference)
        return Readers([await self._registries.of(reference.domain)])

    async def _origin_for(
        self, account: RegistryAuth, reference: Reference, architecture: str
    ) -> "_Origin":
        """Return a runtime image as a caller sees it: what it is shown is not known to others."""
        if not account.username:
            raise Unsupported(
                f"the account at {reference.domain} has a token in place of a user name and a "
                "password: Peitho reads runtime images with those alone"
            )
        credentials = RegistryCredentials(account.username, account.password)
        registry = await self._registries.as_caller(reference.domain, credentials)
        try:
            digest, base = await _read_base(registry, reference, architecture, None)
        except (Unavailable, RegistryError):
            raise
        except PeithoError as error:
            raise PeithoError(f"cannot put a layer on {reference.full()}: {error}") from error
        image_id = f"{reference.full()}@{digest}"
        return _Origin(registry, reference.repository, base, image_id)

    async def _read(
        self, registry: Registry, location: ImageLocation, name: str, digest: str
    ) -> PublishedImage | None:
        content = await registry.manifest(location.repository, digest)
        if content is None:
            return None
        manifest = oci.read_manifest(content.media_type, content.body)
        config = await registry.small_blob(location.repository, manifest.config)
        image = oci.read_image(name, manifest, config)
        if image is None:
            log.warning("image in the registry is not one of ours", image=name, digest=digest)
            return None
        if self._attestations:
            image = await self._attestations.noted(registry, location.repository, digest, image)
        published = PublishedImage(image, self._reference(location, digest))
        self._known[name] = published
        return published

    def _by_id(self, name: str) -> PublishedImage | None:
        asked = _ID.fullmatch(name)
        if asked is None or name in self._known:
            return None
        beginning = f"sha256:{asked[2]}"
        known = self._known.values()
        matching = (each for each in known if each.image.id.startswith(beginning))
        return next(matching, None)

    def _location(self, name: str) -> ImageLocation:
        options = self._options.now
        return repositories.location(name, server=options.host, project=options.path)

    def _reference(self, location: ImageLocation, digest: str) -> str:
        return f"{self._options.now.host}/{location.repository}@{digest}"

    @property
    def _shared(self) -> str:
        path = self._options.now.path
        return f"{path}/{_SHARED}" if path else _SHARED

    @asynccontextmanager
    async def _in_data_directory(self) -> AsyncIterator[None]:
        """Keep images in the data directory while any push goes on; then drop those pushed."""
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1
            # Not before: a layer may be of an image whose record is not written yet.
            while self._pushed and not self._in_flight:
                await self._images.forget(self._pushed.pop())


@dataclass(frozen=True, slots=True)
class _Origin:
    """A runtime image, the registry and repository it is in, and how it is named by its digest."""

    registry: Registry
    repository: str
    base: RuntimeImage
    image_id: str


@dataclass(frozen=True, slots=True)
class _Blob:
    """A layer, its source, and repositories of the registry that may have it."""

    descriptor: Descriptor
    source: BlobSource
    holders: tuple[str, ...]


async def _put(
    registry: Registry, location: ImageLocation, reference: str, appended: ChaincodeManifest
) -> None:
    await registry.put_manifest(
        location.repository, reference, media_type=appended.media_type, body=appended.manifest
    )


def _base_layers(origin: _Origin, registry: Registry) -> Iterator[_Blob]:
    """Yield the layers of the runtime image, except those that no registry may have."""
    holders = (origin.repository,) if origin.registry is registry else ()
    for layer in origin.base.manifest.layers:
        if not layer.is_foreign:
            source = origin.registry.source(origin.repository, layer)
            yield _Blob(layer, source, holders)


async def _read_base(
    registry: Registry,
    reference: Reference,
    architecture: str,
    known: tuple[str, RuntimeImage] | None,
) -> tuple[str, RuntimeImage]:
    """Return a runtime image and its digest; it is read again only if the tag's digest changed."""
    repository = reference.repository
    digest = await registry.digest(repository, reference.digest or reference.tag or "latest")
    if digest is None:
        raise PeithoError(f"there is no such image in {registry.host}")
    if known and known[0] == digest:
        return known
    content = await registry.manifest(repository, digest)
    if content is None:
        raise PeithoError("it is gone from the registry")
    chosen = oci.choose(content.media_type, content.body, architecture=architecture)
    if chosen:
        content = await registry.manifest(repository, chosen.digest)
        if content is None:
            raise PeithoError("its index names what is not in the registry")
    manifest = oci.read_manifest(content.media_type, content.body)
    base = oci.read_base(manifest, await registry.small_blob(repository, manifest.config))
    if base.architecture not in ("", architecture):
        raise PeithoError(f"it is for {base.architecture}, what was built is for {architecture}")
    return digest, base
