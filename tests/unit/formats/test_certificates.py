import base64
import hashlib
import ssl
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peitho.formats.certificates import first_digest, first_expiry

DAY_SECONDS = 86400


def test_the_end_is_read(certificates: Path) -> None:
    """
    Of a leaf and of an authority, to the second.
    """
    for name in ("admin.crt", "ca.crt"):
        end = first_expiry((certificates / "ours" / name).read_bytes())

        assert end is not None
        assert abs(end - time.time() - 30 * DAY_SECONDS) < DAY_SECONDS


def test_of_several_the_first_to_expire_counts(certificates: Path) -> None:
    """
    As in a file with a chain; what stands between is passed over.
    """
    leaf = (certificates / "ours/admin.crt").read_bytes()
    other = (certificates / "ours/ca.crt").read_bytes()
    ends = [first_expiry(leaf), first_expiry(other)]

    assert min(end for end in ends if end) == first_expiry(b"words\n" + other + b"\n" + leaf)


@pytest.mark.parametrize("pem", [b"", b"a key", b"-----BEGIN PRIVATE KEY-----"])
def test_without_a_certificate_there_is_no_end(pem: bytes) -> None:
    """
    It is no error: a file may have a key alone.
    """
    assert first_expiry(pem) is None


def test_the_first_of_several_is_what_a_server_is_known_by(certificates: Path) -> None:
    """
    Its sha256, as programs of others show it.
    """
    leaf = (certificates / "ours/admin.crt").read_bytes()
    der = ssl.PEM_cert_to_DER_cert(leaf.decode())

    chain = leaf + (certificates / "ours/ca.crt").read_bytes()
    assert hashlib.sha256(der).digest() == first_digest(chain)


@given(st.binary(max_size=200))
def test_what_is_no_certificate_is_a_value_error(content: bytes) -> None:
    """
    Whatever it is instead.
    """
    pem = b"-----BEGIN CERTIFICATE-----\n%s\n-----END CERTIFICATE-----\n"

    with pytest.raises(ValueError):  # noqa: PT011  the kind is what counts here
        first_expiry(pem % base64.b64encode(content or b"\x30\x00"))
    with pytest.raises(ValueError):  # noqa: PT011  the kind is what counts here
        first_digest(content)
