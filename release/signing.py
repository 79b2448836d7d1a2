"""
One signature over the sums of all files, by an Ed25519 key: openssl checks it, without Peitho.

    openssl pkeyutl -verify -pubin -inkey peitho.pub -rawin -in SHA256SUMS -sigfile SHA256SUMS.sig
    sha256sum -c SHA256SUMS
"""

import hashlib
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SUMS = "SHA256SUMS"


class NoKeyError(Exception):
    """A file is no Ed25519 key that could sign."""


def sums(folder: Path) -> Path:
    """Write the sums of all files of a folder, in the format of sha256sum."""
    files = sorted(path for path in folder.iterdir() if not path.name.startswith(SUMS))
    target = folder / SUMS
    target.write_text("".join(f"{_sha256(path)}  {path.name}\n" for path in files))
    return target


def sign(file: Path, key: Path) -> Path:
    """Write the signature of a file beside it. Raises NoKeyError, and tells nothing of the key."""
    try:
        private = serialization.load_pem_private_key(key.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise NoKeyError(f"{key} is no private key without a password") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise NoKeyError(
            f"{key} is no Ed25519 key: make one with openssl genpkey -algorithm ed25519"
        )
    target = file.with_name(f"{file.name}.sig")
    target.write_bytes(private.sign(file.read_bytes()))
    return target


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
