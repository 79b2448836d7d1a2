"""
Chaincode that is an image already (`image.json` in its package): may it be used, and is it there?

Nothing is compiled for it.  A node tries whether it can have the image, as it does a runtime image,
and where keys are set, the image has to be signed by one of them.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from peitho.clients.registry.api import Registry
from peitho.clients.registry.registries import Registries
from peitho.core.images.allowed import AllowedImages
from peitho.core.images.pull_accounts import PullAccounts, Readers
from peitho.errors import Forbidden, PeithoError, Unavailable
from peitho.formats.bounded_dict import BoundedDict
from peitho.formats.images import cosign, dsse, prebuilt, references, referrers
from peitho.formats.images.cosign import PublicKey
from peitho.formats.images.references import Reference
from peitho.formats.images.referrers import Referrer
from peitho.settings.live import Live

log = structlog.get_logger()

_REMEMBERED = 1000
_MOST_BUNDLES = 50
_PREDICATE_TYPE = "dev.sigstore.bundle.predicateType"
_BUNDLE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class PrebuiltOptions:
    """Files of the public keys of which one has to have signed an image; none asks for none."""

    keys: Sequence[Path] = ()
    rewrite: Mapping[str, str] = field(default_factory=dict)


class PrebuiltImages:
    """The images that packages name, and the results of their builds, of this run."""

    def __init__(
        self,
        allowed: AllowedImages,
        registries: Registries,
        options: Live[PrebuiltOptions],
        *,
        pull_accounts: PullAccounts | None = None,
    ) -> None:
        self._pull_accounts = pull_accounts
        self._allowed = allowed
        self._registries = registries
        self._options = options
        self._results: BoundedDict[str, str] = BoundedDict(_REMEMBERED)

    def remember(self, digest: str, reference: str) -> None:
        """Note the result of a build, by its sha256, that stands for an image."""
        self._results[digest] = reference

    def of_result(self, digest: str) -> str:
        """Return the image that a result stands for; empty for any other result."""
        return self._results.get(digest, "")

    async def require(self, reference: str) -> None:
        """
        Raise Forbidden for an image that may not be used, PeithoError for one that is not signed.

        Raises InvalidArgument for one that is not named by its digest alone.
        """
        prebuilt.by_digest(reference)
        self._allowed.check(reference)
        if self._options.now.keys:
            await self._require_signature(reference)

    async def _require_signature(self, reference: str) -> None:
        options = self._options.now
        keys = [await asyncio.to_thread(_key, path) for path in options.keys]
        image = references.parse(references.rewritten(reference, options.rewrite))
        files = ", ".join(str(path) for path in options.keys)

        async def find(registry: Registry) -> None:
            if await _is_signed(registry, image, keys) or await _has_bundle(registry, image, keys):
                log.info("image is signed", image=reference)
                return
            raise Forbidden(
                f"the image {reference} is not signed by any key of images.verify ({files}): sign "
                "it with cosign, and push the signature beside it"
            )

        await (await self._readers(image)).first(find)

    async def _readers(self, image: Reference) -> Readers:
        if self._pull_accounts:
            return await self._pull_accounts.readers(self._registries, image)
        return Readers([await self._registries.of(image.domain)])


async def _is_signed(registry: Registry, image: Reference, keys: Sequence[PublicKey]) -> bool:
    """Whether a key has signed an image, in the format of cosign until 3."""
    found = await registry.manifest(image.repository, cosign.tag(image.digest))
    for each in cosign.signatures(found.body) if found else ():
        try:
            payload = await registry.small_blob(image.repository, each.payload)
        except Unavailable:
            raise
        except PeithoError as error:  # one that is damaged hides no other
            log.warning("signature not read", repository=image.repository, cause=str(error))
            continue
        for key in keys:
            if cosign.is_signed(payload, each.signature, key, digest=image.digest):
                return True
    return False


async def _has_bundle(registry: Registry, image: Reference, keys: Sequence[PublicKey]) -> bool:
    """Whether a key has signed an image, in the format of cosign 3: bundles beside the image."""
    listed = await registry.referrers(image.repository, image.digest)
    found = referrers.read(listed.body) if listed else []
    # Where the registry lists none itself, cosign lists them as what their configuration is.
    kinds = (dsse.BUNDLES, referrers.EMPTY_TYPE)
    bundles = [each for each in found if each.artifact_type.startswith(kinds)]
    # Attestations are bundles as well, and may be many.
    bundles.sort(key=lambda each: each.annotations.get(_PREDICATE_TYPE, dsse.SIGNED) != dsse.SIGNED)
    for each in bundles[:_MOST_BUNDLES]:
        try:
            bundle = await _bundle(registry, image, each)
        except Unavailable:
            raise
        except PeithoError as error:  # one that is damaged hides no other
            log.warning("bundle not read", repository=image.repository, cause=str(error))
            continue
        if any(dsse.is_signed(bundle, key, digest=image.digest) for key in keys):
            return True
    return False


async def _bundle(registry: Registry, image: Reference, referrer: Referrer) -> bytes:
    """Return the bundle of a referrer, empty if it has none."""
    manifest = await registry.manifest(image.repository, referrer.descriptor.digest)
    for blob in referrers.layers(manifest.body)[:1] if manifest else ():
        if blob.size <= _BUNDLE_BYTES and blob.media_type.startswith(dsse.BUNDLES):
            return await registry.small_blob(image.repository, blob)
    return b""


def _key(path: Path) -> PublicKey:
    try:
        return cosign.key(path.read_bytes())
    except (OSError, PeithoError) as error:
        raise PeithoError(f"the key {path} of images.verify cannot be used: {error}") from error
