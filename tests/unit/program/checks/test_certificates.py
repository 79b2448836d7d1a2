import datetime as dt
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from peitho.program.checks.certificates import certificates
from peitho.program.checks.finding import Finding
from peitho.settings.models import Settings

DAY = dt.timedelta(days=1)


def write(  # noqa: PLR0913  what tests want of a certificate
    folder: Path,
    name: str,
    *,
    begins: int = -1,
    ends: int = 90,
    names: tuple[str, ...] = ("peitho",),
    issuer: str = "",
) -> None:
    """NAME.crt and NAME.key; `begins` and `ends` are in days from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer or name)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins * DAY)
        .not_valid_after(now + ends * DAY)
    )
    if names:
        alternative = x509.SubjectAlternativeName([x509.DNSName(each) for each in names])
        builder = builder.add_extension(alternative, critical=False)
    made = builder.sign(key, hashes.SHA256())
    (folder / f"{name}.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def found(folder: Path, certificate: str, key: str = "") -> list[Finding]:
    """What is told of a server's certificate."""
    tls = {
        "cert-file": str(folder / f"{certificate}.crt"),
        "key-file": str(folder / f"{key or certificate}.key"),
    }
    return list(certificates(Settings.model_validate({"server": {"tls": tls}})))


def test_without_files_there_is_nothing_to_tell() -> None:
    """
    Whether that is well is told elsewhere.
    """
    assert [] == list(certificates(Settings()))


def test_a_good_certificate_is_told_with_its_names_and_its_end(tmp_path: Path) -> None:
    """
    For whoever wonders which host peers may name.
    """
    write(tmp_path, "a", names=("peitho", "peitho.fabric"))

    (only,) = found(tmp_path, "a")

    assert "ok" == only.status
    assert "for peitho, peitho.fabric" in only.said


@pytest.mark.parametrize(
    ("begins", "ends", "status", "said"),
    [
        (-90, -1, "wrong", "has ended"),
        (1, 90, "wrong", "is not good yet"),
        (-90, 3, "warning", "ends in 3.0 days"),
    ],
)
def test_the_life_of_a_certificate_is_told(
    tmp_path: Path, begins: int, ends: int, status: str, said: str
) -> None:
    """
    Before its end, too.
    """
    write(tmp_path, "a", begins=begins, ends=ends)

    (only,) = found(tmp_path, "a")

    assert status == only.status
    assert said in only.said


def test_a_key_of_another_certificate_is_told(tmp_path: Path) -> None:
    """
    As such, and not in OpenSSL's words alone.
    """
    write(tmp_path, "a")
    write(tmp_path, "b")

    first, _ = found(tmp_path, "a", "b")

    assert "wrong" == first.status
    assert "the key is not that of the certificate" in first.said


def test_files_that_are_none_are_told(tmp_path: Path) -> None:
    """
    By their names.
    """
    (tmp_path / "a.crt").write_text("junk")
    (tmp_path / "a.key").write_text("junk")

    for name in ("a", "nowhere"):
        (only,) = found(tmp_path, name)
        assert "wrong" == only.status
        assert f"{name}.crt" in only.said


def test_a_certificate_without_names_is_taken_by_no_peer(tmp_path: Path) -> None:
    """
    Go has not looked at the common name since 1.15.
    """
    write(tmp_path, "a", names=())

    assert ["ok", "wrong"] == [each.status for each in found(tmp_path, "a")]


def test_a_chain_has_an_order(tmp_path: Path) -> None:
    """
    The server's own comes first.
    """
    write(tmp_path, "ca")
    write(tmp_path, "a", issuer="ca")
    own, above = (tmp_path / "a.crt").read_text(), (tmp_path / "ca.crt").read_text()

    (tmp_path / "a.crt").write_text(own + above)
    assert {"ok"} == {each.status for each in found(tmp_path, "a")}

    write(tmp_path, "other")
    (tmp_path / "a.crt").write_text(own + (tmp_path / "other.crt").read_text())
    assert "not in order" in found(tmp_path, "a")[-1].said
