"""
Signatures of images as cosign keeps them, read without a network.

The tag `sha256-HEX.sig` beside an image leads to a manifest with a layer for each signature; its
content says which digest was signed (a "simple signing" document), and an annotation has the
signature of that content (sigstore/cosign, specs/SIGNATURE_SPEC.md).
"""

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from peitho.errors import PeithoError
from peitho.formats.images.oci import Descriptor, is_digest

_ANNOTATION = "dev.cosignproject.cosign/signature"
_PAYLOAD_BYTES = 64 * 1024
_MOST = 100
# By the size of a curve in bits (sigstore/sigstore, pkg/signature, GetDefaultAlgorithmDetails).
_HASHES: Mapping[int, tuple[hashes.HashAlgorithm, ...]] = {
    384: (hashes.SHA384(),),
    521: (hashes.SHA512(),),
}

PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature, and where the content that it is of can be had."""

    payload: Descriptor
    signature: bytes


def tag(digest: str) -> str:
    """Return the tag below which the signatures of an image are."""
    return f"{digest.replace(':', '-')}.sig"


def key(pem: bytes) -> PublicKey:
    """Read a public key, as `cosign generate-key-pair` writes it. Raises PeithoError."""
    try:
        found = serialization.load_pem_public_key(pem)
    except ValueError as error:
        raise PeithoError("it is no public key in PEM") from error
    if not isinstance(found, PublicKey):
        raise PeithoError("a key is of ECDSA, Ed25519 or RSA")
    return found


def signatures(manifest: bytes) -> Iterator[Signature]:
    """Yield the signatures that a manifest tells of; what is none is left out."""
    try:
        layers = json.loads(manifest)["layers"]
        found = [each for each in layers[:_MOST] if isinstance(each, dict)]
    except (ValueError, KeyError, TypeError, RecursionError):
        return
    for layer in found:
        if signature := _signature(layer):
            yield signature


def is_signed(payload: bytes, signature: bytes, public: PublicKey, *, digest: str) -> bool:
    """Whether a key has signed a content, and the content says that it is for a digest."""
    if not is_by(public, signature, payload):
        return False
    try:
        signed: Any = json.loads(payload)["critical"]["image"]["docker-manifest-digest"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
    return bool(signed == digest)


def is_by(public: PublicKey, signature: bytes, content: bytes) -> bool:
    """Whether a key has signed a content."""
    try:
        if isinstance(public, ec.EllipticCurvePublicKey):
            return _is_by_ecdsa(public, signature, content)
        if isinstance(public, rsa.RSAPublicKey):
            public.verify(signature, content, padding.PKCS1v15(), hashes.SHA256())
        else:
            public.verify(signature, content)
    except InvalidSignature:
        return False
    return True


def _is_by_ecdsa(public: ec.EllipticCurvePublicKey, signature: bytes, content: bytes) -> bool:
    """Cosign until 2 hashes by SHA-256 whatever the curve; later as fits the curve's size."""
    for algorithm in (hashes.SHA256(), *_HASHES.get(public.key_size, ())):
        with suppress(InvalidSignature):
            public.verify(signature, content, ec.ECDSA(algorithm))
            return True
    return False


def _signature(layer: dict[str, Any]) -> Signature | None:
    digest, size, annotations = (layer.get(key) for key in ("digest", "size", "annotations"))
    if not (isinstance(digest, str) and is_digest(digest) and isinstance(annotations, dict)):
        return None
    if type(size) is not int or not 0 < size <= _PAYLOAD_BYTES:
        return None
    try:
        signature = base64.b64decode(str(annotations.get(_ANNOTATION, "")), validate=True)
    except (ValueError, binascii.Error):
        return None
    return Signature(Descriptor("", digest, size), signature) if signature else None
