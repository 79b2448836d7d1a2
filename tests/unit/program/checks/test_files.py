from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from peitho.program.checks.files import files
from peitho.settings.models import Settings

KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC = KEY.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)
PRIVATE = KEY.private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.NoEncryption(),
)


def settings_of(folder: Path) -> Settings:
    """Settings that name a file of each kind."""
    registry = {"username-file": folder / "name", "password-file": folder / "password"}
    return Settings.model_validate(
        {
            "images": {"verify": [str(folder / "cosign.pub")], "sign": folder / "key.pem"},
            "docker": {"registry": registry},
            "server": {"operationsTokenFile": folder / "token"},
            "audit": {"file": folder / "audit.log"},
        }
    )


def test_without_such_files_there_is_nothing_to_tell() -> None:
    """
    Nor of an audit trail in the log.
    """
    assert [] == list(files(Settings()))
    assert [] == list(files(Settings.model_validate({"audit": {"file": "-"}})))


def test_what_is_there_is_told_without_what_it_holds(tmp_path: Path) -> None:
    """
    A line for each.
    """
    for name, content in (
        ("cosign.pub", PUBLIC),
        ("key.pem", PRIVATE),
        ("name", b"robot\n"),
        ("password", b"Harbor12345"),
        ("token", b"secret"),
    ):
        (tmp_path / name).write_bytes(content)

    found = list(files(settings_of(tmp_path)))

    assert ["ok"] * 6 == [each.status for each in found]
    said = "".join(each.said for each in found)
    assert not any(secret in said for secret in ("robot", "Harbor12345", "secret", "BEGIN"))


def test_what_is_not_there_is_wrong(tmp_path: Path) -> None:
    """
    With the setting that names it, before a peer trips over it.
    """
    found = list(files(settings_of(tmp_path / "none")))

    assert [
        ("signatures", "images.verify"),
        ("signatures", "images.sign"),
        ("registry", "docker.registry.username-file"),
        ("registry", "docker.registry.password-file"),
        ("operations", "server.operationsTokenFile"),
        ("audit", "audit.file"),
    ] == [(each.name, each.said.partition(":")[0]) for each in found]
    assert {"wrong"} == {each.status for each in found}
    assert all(each.do for each in found)


@pytest.mark.parametrize(
    ("name", "content", "cause"),
    [
        ("cosign.pub", b"-----BEGIN PUBLIC KEY-----", "it is no public key in PEM"),
        ("cosign.pub", PRIVATE, "it is no public key in PEM"),
        ("key.pem", PUBLIC, "it is no private key in PEM without a password"),
        ("password", b"\xff", "it is no text"),
        ("token", b" \n", "it is empty"),
    ],
)
def test_what_is_something_else_is_wrong(
    tmp_path: Path, name: str, content: bytes, cause: str
) -> None:
    """
    A key of the other kind, an empty token.
    """
    (tmp_path / name).write_bytes(content)

    (found,) = (each for each in files(settings_of(tmp_path)) if f"{tmp_path}/{name} " in each.said)

    assert "wrong" == found.status
    assert cause in found.said


def test_a_folder_is_no_audit_file(tmp_path: Path) -> None:
    """
    It is there, and cannot be written to.
    """
    settings = Settings.model_validate({"audit": {"file": tmp_path}})

    (found,) = files(settings)

    assert "wrong" == found.status
