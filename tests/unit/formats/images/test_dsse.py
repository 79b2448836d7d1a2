import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from peitho.errors import PeithoError
from peitho.formats.images import dsse

KEYS: dict[str, dsse.PrivateKey] = {
    "ecdsa": ec.generate_private_key(ec.SECP256R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
    "rsa": rsa.generate_private_key(65537, 2048),
}
DIGEST = "sha256:" + "ab" * 32


def pem(key: Any, password: bytes = b"") -> bytes:
    """A private key, as openssl writes it."""
    encryption: Any = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    return bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    )


def signed(statement: object, key: dsse.PrivateKey = KEYS["ecdsa"]) -> bytes:
    """What cosign 3 keeps of a signature."""
    return dsse.bundle(dsse.sign(json.dumps(statement).encode(), key), key)


def about(digest: str = DIGEST, predicate: str = dsse.SIGNED) -> dict[str, object]:
    """The statement that an image is signed."""
    subject = [{"name": "", "digest": {"sha256": digest[7:]}}]
    return {"subject": subject, "predicateType": predicate}


@pytest.mark.parametrize("kind", KEYS)
def test_what_is_signed_is_verified_by_its_key_alone(kind: str) -> None:
    """
    Whether it is read from an envelope or from a bundle.
    """
    key = dsse.private_key(pem(KEYS[kind]))
    envelope = dsse.sign(b"{}", key)

    for content in (envelope, dsse.bundle(envelope, key)):
        found = dsse.read(content)
        assert (b"{}", dsse.IN_TOTO) == (found.payload, found.payload_type)
        by = [name for name, each in KEYS.items() if found.is_signed_by(each.public_key())]
        assert [kind] == by


def test_a_changed_payload_is_not_signed() -> None:
    """
    Nor one of another type.
    """
    told = json.loads(dsse.sign(b"{}", KEYS["ecdsa"]))
    changes = ({"payload": base64.b64encode(b"[]").decode()}, {"payloadType": "text/plain"})
    for change in changes:
        found = dsse.read(json.dumps(told | change).encode())
        assert not found.is_signed_by(KEYS["ecdsa"].public_key())


def test_an_image_is_signed_if_the_statement_says_so() -> None:
    """
    That is, about its digest, by that key, and in the words of cosign.
    """
    public = KEYS["ecdsa"].public_key()

    assert dsse.is_signed(signed(about()), public, digest=DIGEST)
    assert not dsse.is_signed(signed(about("sha256:" + "cd" * 32)), public, digest=DIGEST)
    assert not dsse.is_signed(signed(about(predicate="other")), public, digest=DIGEST)
    assert not dsse.is_signed(signed(about(), KEYS["ed25519"]), public, digest=DIGEST)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"payload": 1}', b"[" * 10_000, b"\xff"])
def test_what_is_no_envelope_is_not_signed(content: bytes) -> None:
    """
    And is told as none.
    """
    with pytest.raises(PeithoError, match="it is no envelope"):
        dsse.read(content)
    assert not dsse.is_signed(content, KEYS["rsa"].public_key(), digest=DIGEST)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"nothing", "it is no private key in PEM"),
        (pem(KEYS["ecdsa"], b"secret"), "without a password"),
        (pem(ed448.Ed448PrivateKey.generate()), "ECDSA, Ed25519 or RSA"),
    ],
)
def test_a_key_that_cannot_be_used_is_told(content: bytes, said: str) -> None:
    """
    With a way to make one.
    """
    with pytest.raises(PeithoError, match=said):
        dsse.private_key(content)
