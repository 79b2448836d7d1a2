"""
What is told of a chaincode image's build, beside the image in its registry.

It is a referrer of the image: the statement itself, or with a key a signed bundle, as cosign 3
keeps them; then also the attestation below the tag of cosign until 3.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from peitho.clients.registry.api import ManifestContent, Registry
from peitho.clients.registry.uploads import bytes_source
from peitho.core.images.publisher import PublishedImage
from peitho.errors import PeithoError, Unavailable
from peitho.formats.images import dsse, oci, provenance, referrers
from peitho.formats.images.dsse import PrivateKey
from peitho.formats.images.image_record import Image
from peitho.formats.images.oci import Descriptor
from peitho.formats.images.origin import NOWHERE, Origin
from peitho.formats.images.provenance import Subject
from peitho.formats.images.referrers import Referrer
from peitho.settings.live import Live

log = structlog.get_logger()

# By which Peitho knows its own: what is listed tells who has signed it.
_KEY = "peitho/key"
_UNSIGNED = "none"
_STATEMENT_BYTES = 4 * 1024 * 1024
_MOST_STATEMENTS = 20


@dataclass(frozen=True, slots=True)
class AttestationOptions:
    """Who says it, a URI, and the file of the key that it is signed by, if any."""

    builder_id: str
    key: Path | None = None


class UnsignedError(PeithoError):
    """Images are signed here, and of this one nothing is known that could be."""


class Attestations:
    """The statements about images in one registry."""

    def __init__(self, options: Live[AttestationOptions]) -> None:
        self._options = options

    async def require(
        self, registry: Registry, published: PublishedImage, image: Descriptor
    ) -> None:
        """
        Raise UnsignedError for an image that nothing could be signed about, if there is a key.

        Whoever admits Pods by what is signed would refuse it at each launch: its install tells.
        """
        if not self.signs or published.image.origin != NOWHERE or published.image.prebuilt:
            return
        repository = _repository(published)
        if await _find(registry, repository, image.digest, await self._key()):
            return
        raise UnsignedError(
            f"the image {published.image.name} cannot be signed, as images.sign asks: the build of "
            "its package is not known to this Peitho: install the package again, through this one"
        )

    @property
    def signs(self) -> bool:
        """Whether there is a key."""
        return self._options.now.key is not None

    async def push(self, registry: Registry, published: PublishedImage, image: Descriptor) -> None:
        """
        Say beside an image where it comes from, unless that is there or not known.

        Without a key a failure is only logged. With one, whoever admits Pods may ask for what is
        signed: so it fails the build. Raises PeithoError then.
        """
        if published.image.origin == NOWHERE:
            return
        try:
            await self._push(registry, published, image)
        except PeithoError as error:
            if self.signs:
                raise PeithoError(f"the provenance of the image was not pushed: {error}") from error
            log.warning("provenance not pushed", image=published.image.name, cause=str(error))

    async def noted(self, registry: Registry, repository: str, digest: str, image: Image) -> Image:
        """Return an image with what is told beside it of its build, by whomever."""
        try:
            statement = await self.find(registry, repository, digest)
        except PeithoError as error:
            log.warning("provenance not read", image=image.name, cause=str(error))
            return image
        told = provenance.read(statement) if statement else None
        if told is None:
            return image
        origin = Origin(builder=told.builder, builder_id=told.builder_id)
        return replace(image, runtime_id=told.runtime_id, origin=origin)

    async def find(self, registry: Registry, repository: str, digest: str) -> bytes | None:
        """
        Return Peitho's statement about an image, the latest of several; None without one.

        With a key, what that has signed alone; without one, whoever may push there is believed.
        """
        return await _find(registry, repository, digest, await self._key())

    async def remove(self, registry: Registry, repository: str, image: Descriptor) -> None:
        """
        Remove what Peitho says beside an image, and its entries in lists that are manifests.

        What others say stays, and so does what the registry does not delete: it does no harm.
        """
        place = _Place(registry, repository, image)
        for remove in (place.remove_referrers, place.remove_attestations):
            try:
                await remove()
            except PeithoError as error:
                log.info("provenance not removed", repository=repository, cause=str(error))

    async def _push(self, registry: Registry, published: PublishedImage, image: Descriptor) -> None:
        options = self._options.now
        place = _Place(registry, _repository(published), image)
        key = await self._key()
        if await _find(registry, place.repository, image.digest, key):
            return
        signer = dsse.hint(key.public_key()) if key else _UNSIGNED
        statement = provenance.statement(
            published.image,
            (
                Subject(published.reference.partition("@")[0], image.digest),
                Subject("layer", published.image.layer),
            ),
            builder_id=options.builder_id,
        )
        if key is None:
            await place.put_referrer(statement, dsse.IN_TOTO, {_KEY: signer})
        else:
            # There may be one of a try before this one, which ended here.
            envelope = await place.attested(key)
            if envelope is None:
                envelope = await asyncio.to_thread(dsse.sign, statement, key)
                await place.put_attestation(envelope)
            notes = {
                _KEY: signer,
                "dev.sigstore.bundle.content": "dsse-envelope",
                "dev.sigstore.bundle.predicateType": provenance.PREDICATE,
            }
            await place.put_referrer(dsse.bundle(envelope, key), dsse.BUNDLE, notes)
        log.info("provenance pushed", image=published.image.name, is_signed=key is not None)

    async def _key(self) -> PrivateKey | None:
        path = self._options.now.key
        return await asyncio.to_thread(_read_key, path) if path else None


async def _find(
    registry: Registry, repository: str, digest: str, key: PrivateKey | None
) -> bytes | None:
    listed = await registry.referrers(repository, digest)
    known = referrers.read(listed.body) if listed else []
    ours = [each for each in known if _KEY in each.annotations]
    for each in reversed(ours[-_MOST_STATEMENTS:]):
        try:
            statement = await _statement(registry, repository, each, key)
        except Unavailable:
            raise
        except PeithoError as error:  # one that is damaged hides no other
            log.warning("statement not read", repository=repository, cause=str(error))
            continue
        if statement and is_ours(statement, digest):
            return statement
    return None


def is_ours(statement: bytes, digest: str) -> bool:
    """Whether this is provenance of Peitho's of an image; a key may sign other words about it."""
    return provenance.is_about(statement, digest) and provenance.is_own(statement)


async def _statement(
    registry: Registry, repository: str, referrer: Referrer, key: PrivateKey | None
) -> bytes | None:
    """Return what a referrer says; None for one that is gone, too large, or not signed by a key."""
    manifest = await registry.manifest(repository, referrer.descriptor.digest)
    found = referrers.layers(manifest.body)[:1] if manifest else []
    if not found or found[0].size > _STATEMENT_BYTES:
        return None
    content = await registry.small_blob(repository, found[0])
    if found[0].media_type == dsse.IN_TOTO:
        return content if key is None else None
    envelope = dsse.read(content)
    if key and not envelope.is_signed_by(key.public_key()):
        return None
    return envelope.payload


@dataclass(frozen=True, slots=True)
class _Place:
    """Beside one image in a repository."""

    registry: Registry
    repository: str
    image: Descriptor

    async def put_referrer(self, content: bytes, kind: str, notes: dict[str, str]) -> None:
        """Put a content beside the image, and where the registry does not list it, do that."""
        layer = Descriptor(kind, oci.digest_of(content), len(content))
        manifest = referrers.manifest(self.image, layer, artifact_type=kind, annotations=notes)
        await self._upload(referrers.EMPTY, referrers.EMPTY_TYPE)
        await self._upload(content, kind)
        is_listed = await self.registry.put_manifest(
            self.repository, oci.digest_of(manifest), media_type=oci.OCI_MANIFEST, body=manifest
        )
        if is_listed:
            return
        tag = referrers.tag(self.image.digest)
        listed = await self.registry.manifest(self.repository, tag)
        index = referrers.index(listed.body if listed else None, [(manifest, kind)])
        await self.registry.put_manifest(self.repository, tag, media_type=oci.OCI_INDEX, body=index)

    async def attested(self, key: PrivateKey) -> bytes | None:
        """Return an envelope about the image that a key has signed, as cosign until 3 finds it."""
        listed = await self.registry.manifest(self.repository, self._attestations)
        known = referrers.layers(listed.body) if listed else []
        for each in reversed(known[-_MOST_STATEMENTS:]):
            content = await self._envelope(each)
            if content is None:
                continue
            found = dsse.read(content)
            if is_ours(found.payload, self.image.digest) and found.is_signed_by(key.public_key()):
                return content
        return None

    async def remove_referrers(self) -> None:
        """Delete Peitho's referrers, and their entries in the index below a tag, if there is it."""
        listed = await self.registry.referrers(self.repository, self.image.digest)
        known = referrers.read(listed.body) if listed else []
        ours = [each.descriptor.digest for each in known if _KEY in each.annotations]
        for digest in ours:
            await self.registry.delete_manifest(self.repository, digest)
        tag = referrers.tag(self.image.digest)
        index = await self.registry.manifest(self.repository, tag)
        if index is None:
            return
        left = referrers.index_without(index.body, ours)
        await self._replace(tag, index, left, oci.OCI_INDEX)

    async def remove_attestations(self) -> None:
        """Delete Peitho's envelopes from the manifest of cosign until 3."""
        listed = await self.registry.manifest(self.repository, self._attestations)
        if listed is None:
            return
        ours = [
            each.digest
            for each in referrers.layers(listed.body)
            if (content := await self._envelope(each)) and provenance.is_own(_payload(content))
        ]
        left = referrers.attestations_without(listed.body, ours)
        if left:
            config = referrers.attestation_config(_digests(left))
            await self._upload(config, oci.OCI_CONFIG)
        await self._replace(self._attestations, listed, left, oci.OCI_MANIFEST)

    async def put_attestation(self, envelope: bytes) -> None:
        """Put an envelope where cosign until 3 looks for it, beside those of others."""
        await self._upload(envelope, dsse.ENVELOPE)
        layer = Descriptor(dsse.ENVELOPE, oci.digest_of(envelope), len(envelope))
        notes = {
            "dev.cosignproject.cosign/signature": "",
            "predicateType": provenance.PREDICATE,
        }
        tag = self._attestations
        listed = await self.registry.manifest(self.repository, tag)
        manifest = referrers.attestations(listed.body if listed else None, [(layer, notes)])
        config = referrers.attestation_config(_digests(manifest))
        await self._upload(config, oci.OCI_CONFIG)
        await self.registry.put_manifest(
            self.repository, tag, media_type=oci.OCI_MANIFEST, body=manifest
        )

    @property
    def _attestations(self) -> str:
        return f"{referrers.tag(self.image.digest)}.att"

    async def _envelope(self, layer: Descriptor) -> bytes | None:
        """Return the content of a layer, if it is an envelope, and not larger than one is."""
        if layer.media_type != dsse.ENVELOPE or layer.size > _STATEMENT_BYTES:
            return None
        try:
            content = await self.registry.small_blob(self.repository, layer)
            dsse.read(content)
        except Unavailable:
            raise
        except PeithoError:  # one that is damaged hides no other
            return None
        return content

    async def _replace(
        self, tag: str, former: ManifestContent, left: bytes | None, media_type: str
    ) -> None:
        """Put what is left of a list in its place, or delete the list."""
        if left is None:
            await self.registry.delete_manifest(self.repository, former.digest)
        elif left != former.body:
            await self.registry.put_manifest(self.repository, tag, media_type=media_type, body=left)

    async def _upload(self, content: bytes, media_type: str) -> None:
        blob = Descriptor(media_type, oci.digest_of(content), len(content))
        await self.registry.upload(self.repository, blob, bytes_source(content))


def _repository(published: PublishedImage) -> str:
    return published.reference.partition("/")[2].partition("@")[0]


def _payload(envelope: bytes) -> bytes:
    return dsse.read(envelope).payload


def _digests(manifest: bytes) -> Sequence[str]:
    return [each.digest for each in referrers.layers(manifest)]


def _read_key(path: Path) -> PrivateKey:
    try:
        return dsse.private_key(path.read_bytes())
    except (OSError, PeithoError) as error:
        raise PeithoError(f"the key {path} of images.sign cannot be used: {error}") from error
