import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa

from peitho.errors import PeithoError
from peitho.formats.images import cosign

DIGEST = "sha256:" + "ab" * 32
PAYLOAD = json.dumps(
    {
        "critical": {
            "identity": {"docker-reference": "registry.example/org/asset"},
            "image": {"docker-manifest-digest": DIGEST},
            "type": "cosign container image signature",
        },
        "optional": None,
    }
).encode()
ECDSA = ec.generate_private_key(ec.SECP256R1())
ED25519 = ed25519.Ed25519PrivateKey.generate()
RSA = rsa.generate_private_key(65537, 2048)
P384 = ec.generate_private_key(ec.SECP384R1())
OTHER_P384 = ec.generate_private_key(ec.SECP384R1())
P521 = ec.generate_private_key(ec.SECP521R1())
SIGNATURES = {
    "p384, sha256": (P384, P384.sign(PAYLOAD, ec.ECDSA(hashes.SHA256()))),
    "p384, sha384": (OTHER_P384, OTHER_P384.sign(PAYLOAD, ec.ECDSA(hashes.SHA384()))),
    "p521, sha512": (P521, P521.sign(PAYLOAD, ec.ECDSA(hashes.SHA512()))),
    "ecdsa": (ECDSA, ECDSA.sign(PAYLOAD, ec.ECDSA(hashes.SHA256()))),
    "ed25519": (ED25519, ED25519.sign(PAYLOAD)),
    "rsa": (RSA, RSA.sign(PAYLOAD, padding.PKCS1v15(), hashes.SHA256())),
}
# The form of the public key that `cosign generate-key-pair` writes: PKIX, on P-256.
COSIGN_PUB = b"""-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEhyQCx0E9wQWSFI9ULGwy3BuRklnt
IqozONbbdbqz11hlRJy9c7SG+hdcFl9jE9uE/dwtuwU2MqU9T/cN0YkWww==
-----END PUBLIC KEY-----
"""


def pem(private: Any) -> bytes:
    """The public key of a private one."""
    public = private.public_key()
    return bytes(
        public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )


def manifest(*layers: object) -> bytes:
    """The manifest of signatures."""
    return json.dumps({"schemaVersion": 2, "layers": layers}).encode()


def layer(**changes: object) -> dict[str, object]:
    """One signature in it."""
    text = base64.b64encode(b"signature").decode()
    annotations = {"dev.cosignproject.cosign/signature": text}
    return {"digest": DIGEST, "size": 200, "annotations": annotations} | changes


@pytest.mark.parametrize("kind", SIGNATURES)
def test_a_signature_of_the_key_for_the_digest_is_good(kind: str) -> None:
    """
    ECDSA, as cosign makes keys, and what one may bring along.
    """
    private, signature = SIGNATURES[kind]
    key = cosign.key(pem(private))

    assert cosign.is_signed(PAYLOAD, signature, key, digest=DIGEST)


@pytest.mark.parametrize("kind", SIGNATURES)
def test_any_other_signature_is_none(kind: str) -> None:
    """
    Of another key, content or digest, or changed.
    """
    private, signature = SIGNATURES[kind]
    key = cosign.key(pem(private))
    others = {name: cosign.key(pem(each)) for name, (each, _) in SIGNATURES.items()}

    assert not cosign.is_signed(PAYLOAD, signature, key, digest="sha256:" + "ac" * 32)
    assert not cosign.is_signed(PAYLOAD + b" ", signature, key, digest=DIGEST)
    assert not cosign.is_signed(PAYLOAD, signature[:-1] + b"\0\0", key, digest=DIGEST)
    assert not cosign.is_signed(PAYLOAD, b"", key, digest=DIGEST)
    for name, other in others.items():
        if name != kind:
            assert not cosign.is_signed(PAYLOAD, signature, other, digest=DIGEST)
    again = cosign.key(pem(ec.generate_private_key(ec.SECP256R1())))
    assert not cosign.is_signed(PAYLOAD, signature, again, digest=DIGEST)


@pytest.mark.parametrize(
    "payload", [b"", b"{", b"[]", b'{"critical": null}', b'{"critical": {"image": {}}}']
)
def test_what_says_nothing_of_a_digest_is_none(payload: bytes) -> None:
    """
    Though the key has signed it.
    """
    signature = ED25519.sign(payload)

    assert not cosign.is_signed(payload, signature, ED25519.public_key(), digest=DIGEST)


def test_signatures_are_found_and_what_is_none_is_left_out() -> None:
    """
    One that cannot be read keeps no other from being found.
    """
    odd: list[object] = [
        layer(digest="sha512:x"),
        layer(size=True),
        layer(size=10**9),
        layer(annotations=None),
        layer(annotations={}),
        layer(annotations={"dev.cosignproject.cosign/signature": "%%%"}),
        "x",
        None,
    ]
    (found,) = cosign.signatures(manifest(*odd, layer()))

    assert (DIGEST, b"signature") == (found.payload.digest, found.signature)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"layers": 1}', b"[" * 100_000])
def test_what_is_no_manifest_has_none(body: bytes) -> None:
    """
    And is no error.
    """
    assert [] == list(cosign.signatures(body))


def test_the_tag_is_beside_the_image() -> None:
    """
    As cosign names it.
    """
    assert f"sha256-{'ab' * 32}.sig" == cosign.tag(DIGEST)


def test_a_key_of_cosign_is_read() -> None:
    """
    What is no public key, or of a kind that cosign does not use, is told.
    """
    assert cosign.key(COSIGN_PUB)
    for wrong in (b"", b"x", pem(ECDSA)[:60], pem(ed448.Ed448PrivateKey.generate())):
        with pytest.raises(PeithoError):
            cosign.key(wrong)
