import resource
import ssl
from pathlib import Path
from typing import Any

import pytest
import structlog.testing
from aiohttp import web

from peitho.clients.registry.api import Registry
from peitho.clients.registry.transport import RegistryEndpoint
from peitho.clients.tls import CertificateFiles
from peitho.errors import Unavailable
from tests.support.loopback import listening_with_tls
from tests.support.registry_double import QUICK

_CREATE_CONTEXT = ssl.create_default_context


def test_files_are_read_when_they_change_and_not_before(tmp_path: Path, certificates: Path) -> None:
    """
    Also if a link is turned to another folder, as the kubelet does it.
    """
    one, two = certificates / "ours", certificates / "others"
    link = tmp_path / "now"
    link.symlink_to(one)
    trust = CertificateFiles("these", link / "ca.crt", link / "admin.crt", link / "admin.key")

    first = trust.context()
    assert first is trust.context()

    link.unlink()
    link.symlink_to(two)
    second = trust.context()
    assert first is not second
    assert second is trust.context()
    assert [each["subject"] for each in second.get_ca_certs()] == [((("commonName", "lab"),),)]


def test_files_that_cannot_be_used_leave_the_last(certificates: Path) -> None:
    """
    Which is told once, with their names and not with what is in them.
    """
    one, two = certificates / "ours", certificates / "others"
    trust = CertificateFiles("these", one / "ca.crt", one / "admin.crt", one / "admin.key")
    first = trust.context()

    with structlog.testing.capture_logs() as told:
        (one / "admin.key").write_bytes((two / "admin.key").read_bytes())
        assert first is trust.context()
        assert first is trust.context()
        (one / "ca.crt").unlink()
        assert first is trust.context()

    assert ["certificates not read"] * 2 == [each["event"] for each in told]
    assert f"{one}/ca.crt, {one}/admin.crt, {one}/admin.key" == told[0]["files"]
    assert "mismatch" in told[0]["cause"]
    assert "BEGIN" not in str(told)

    (one / "ca.crt").write_bytes((two / "ca.crt").read_bytes())
    (one / "admin.crt").write_bytes((two / "admin.crt").read_bytes())
    assert first is not trust.context()


def test_files_that_could_not_be_opened_once_are_read_at_the_next_call(
    certificates: Path,
) -> None:
    """
    A renewal is not missed as there were too many open files.
    """
    one, two = certificates / "ours", certificates / "others"
    trust = CertificateFiles("these", one / "ca.crt")
    first = trust.context()
    (one / "ca.crt").write_bytes((two / "ca.crt").read_bytes())

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with structlog.testing.capture_logs() as told:
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            assert first is trust.context()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert ["certificates not read"] == [each["event"] for each in told]
    assert first is not trust.context()


@pytest.mark.parametrize("text", [None, "", "no certificate"])
def test_files_that_never_could_be_used_are_an_error(
    tmp_path: Path, certificates: Path, text: str | None
) -> None:
    """
    At each call, until they can.
    """
    path = tmp_path / "ca.crt"
    trust = CertificateFiles("these", path, beside_system=True)
    if text is not None:
        path.write_text(text)

    for _ in range(2):
        with pytest.raises(Unavailable, match=f"^these cannot be used .{path}.: "):
            trust.context()

    path.write_bytes((certificates / "ours/ca.crt").read_bytes())
    assert trust.context()


def test_without_files_the_system_is_trusted() -> None:
    """
    As it is beside a file, where that is wanted.
    """
    assert ssl.CERT_REQUIRED == CertificateFiles("these").context().verify_mode
    assert CertificateFiles("these").context().check_hostname


def test_certificates_are_judged_alike_by_every_python(
    certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    From 3.13 on, a new context is strict.
    """
    monkeypatch.setattr(ssl, "create_default_context", _strict_context)
    ca = certificates / "ours/ca.crt"

    contexts = [
        CertificateFiles("these", ca).context(),
        CertificateFiles("these", ca, is_server=True).context(),
        CertificateFiles("these").context(),
    ]

    assert [] == [each for each in contexts if each.verify_flags & ssl.VERIFY_X509_STRICT]


async def test_a_registry_is_trusted_by_the_file_as_it_is_now(
    tmp_path: Path, certificates: Path
) -> None:
    """
    Over TLS, with a file that is changed between two calls, and a server that is changed after it.
    """
    one, two = certificates / "ours", certificates / "others"
    ca = tmp_path / "ca.crt"
    ca.write_bytes((one / "ca.crt").read_bytes())
    async with listening_with_tls(two, client=ssl.CERT_NONE, answer=_no_such) as endpoint:
        address = RegistryEndpoint(endpoint.removeprefix("tcp://"), ca_file=ca)
        async with Registry.connect(address, lambda: None, patience=QUICK) as registry:
            with pytest.raises(Unavailable, match="certificate verify failed"):
                await registry.digest("a", "latest")

            ca.write_bytes((two / "ca.crt").read_bytes())
            assert await registry.digest("a", "latest") is None

            ca.write_bytes((one / "ca.crt").read_bytes())
            with pytest.raises(Unavailable, match="certificate verify failed"):
                await registry.digest("a", "latest")


def _strict_context(purpose: Any = ssl.Purpose.SERVER_AUTH, **given: Any) -> ssl.SSLContext:
    context = _CREATE_CONTEXT(purpose, **given)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


async def _no_such(_: web.Request) -> web.Response:
    return web.Response(status=404)
