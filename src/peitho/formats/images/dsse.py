"""
Signed statements: in-toto statements in DSSE envelopes, and the bundles that cosign 3 keeps.

What is signed are the bytes of a payload and its type (secure-systems-lab/dsse, protocol.md); a
bundle is an envelope with what it is verified by (sigstore/protobuf-specs, sigstore_bundle.proto),
for us the key that is known already.
"""

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from peitho.errors import PeithoError
from peitho.formats.images import cosign
from peitho.formats.images.cosign import PublicKey

IN_TOTO = "application/vnd.in-toto+json"
ENVELOPE = "application/vnd.dsse.envelope.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
BUNDLES = "application/vnd.dev.sigstore.bundle"
"""How the media type of a bundle begins, whatever its version."""

# What `cosign sign` says of an image since 3.0 (pkg/cosign, CosignSignPredicateType).
SIGNED = "https://sigstore.dev/cosign/sign/v1"
_MOST_SIGNATURES = 10

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload, what it is, and signatures of both."""

    payload: bytes
    payload_type: str
    signatures: tuple[bytes, ...]

    def is_signed_by(self, key: PublicKey) -> bool:
        """Whether a key has signed it."""
        content = _encoded(self.payload_type, self.payload)
        return any(cosign.is_by(key, each, content) for each in self.signatures)


def private_key(pem: bytes) -> PrivateKey:
    """Read a private key, PEM without a password. Raises PeithoError."""
    try:
        found = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise PeithoError(
            "it is no private key in PEM without a password (`openssl genpkey -algorithm EC "
            "-pkeyopt ec_paramgen_curve:P-256` makes one)"
        ) from error
    if not isinstance(found, PrivateKey):
        raise PeithoError("a key is of ECDSA, Ed25519 or RSA")
    return found


def hint(key: PublicKey) -> str:
    """Return by which text a public key is known: the sha256 of it, as cosign has it."""
    content = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


def sign(statement: bytes, key: PrivateKey) -> bytes:
    """Return an envelope with a statement and a signature."""
    content = _encoded(IN_TOTO, statement)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        signature = key.sign(content, ec.ECDSA(hashes.SHA256()))
    elif isinstance(key, rsa.RSAPrivateKey):
        signature = key.sign(content, padding.PKCS1v15(), hashes.SHA256())
    else:
        signature = key.sign(content)
    return _dump(
        {
            "payloadType": IN_TOTO,
            "payload": _base64(statement),
            "signatures": [{"keyid": "", "sig": _base64(signature)}],
        }
    )


def bundle(envelope: bytes, key: PrivateKey) -> bytes:
    """Return a bundle with an envelope, and the hint to the key that signed it."""
    return _dump(
        {
            "mediaType": BUNDLE,
            "verificationMaterial": {"publicKey": {"hint": hint(key.public_key())}},
            "dsseEnvelope": json.loads(envelope),
        }
    )


def read(envelope: bytes) -> Envelope:
    """Read an envelope, or a bundle with one. Raises PeithoError."""
    try:
        told: Any = json.loads(envelope)
        told = told.get("dsseEnvelope", told)
        return Envelope(
            _bytes(told["payload"]),
            str(told["payloadType"]),
            tuple(_bytes(each["sig"]) for each in told["signatures"][:_MOST_SIGNATURES]),
        )
    except (
        *(ValueError, KeyError, TypeError, AttributeError, RecursionError),
        binascii.Error,
    ) as error:
        raise PeithoError(f"it is no envelope: {type(error).__name__}") from error


def is_signed(envelope: bytes, key: PublicKey, *, digest: str) -> bool:
    """Whether a key has signed an image by its digest, as cosign 3 does; see `cosign.is_signed`."""
    try:
        found = read(envelope)
        if found.payload_type != IN_TOTO or not found.is_signed_by(key):
            return False
        statement: Any = json.loads(found.payload)
        digests = [each["digest"].get("sha256") for each in statement["subject"]]
        return statement["predicateType"] == SIGNED and digest.removeprefix("sha256:") in digests
    except (PeithoError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def _encoded(payload_type: str, payload: bytes) -> bytes:
    """The bytes that are signed (DSSE's PAE)."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _bytes(text: object) -> bytes:
    if not isinstance(text, str):
        raise TypeError("it is no text")
    return base64.b64decode(text, validate=True)


def _dump(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
