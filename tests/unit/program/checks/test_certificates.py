from pathlib import Path

import pytest

from peitho.program.checks.certificates import certificates
from peitho.program.checks.finding import Finding
from peitho.settings.models import Settings
from tests.support.certificates import write


def found(folder: Path, certificate: str, key: str = "", *, listener: str = "tls") -> list[Finding]:
    """What is told of a server's certificate."""
    tls = {
        "cert-file": str(folder / f"{certificate}.crt"),
        "key-file": str(folder / f"{key or certificate}.key"),
    }
    return list(certificates(Settings.model_validate({"server": {listener: tls}})))


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


@pytest.mark.parametrize(
    ("listener", "host"), [("tls", "CORE_VM_ENDPOINT"), ("operationsTls", "browsers call")]
)
def test_a_certificate_without_names_is_taken_by_nobody(
    tmp_path: Path, listener: str, host: str
) -> None:
    """
    Go has not looked at the common name since 1.15, and browsers do not either.
    """
    write(tmp_path, "a", names=())

    life, names = found(tmp_path, "a", listener=listener)

    assert ("ok", "wrong") == (life.status, names.status)
    assert names.said.startswith(f"server.{listener}.cert-file (CN=a): has no names")
    assert names.do.endswith(host)


def test_the_operations_listeners_certificates_are_told_as_well(tmp_path: Path) -> None:
    """
    Its own, the CA of clients, and a key that is another's.
    """
    for name in ("a", "b", "ca"):
        write(tmp_path, name)
    files = {"cert-file": "a.crt", "key-file": "b.key", "client-ca-file": "ca.crt"}
    tls = {key: str(tmp_path / name) for key, name in files.items()}
    settings = Settings.model_validate({"server": {"operationsTls": tls}})

    key, own, authority = certificates(settings)

    assert ["wrong", "ok", "ok"] == [key.status, own.status, authority.status]
    assert key.said.startswith("server.operationsTls: The TLS files of the operations listener")
    assert "the key is not that of the certificate" in key.said
    assert authority.said.startswith("server.operationsTls.client-ca-file (CN=ca): good until")


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
