import os
import ssl
import time

import pytest
from cryptography import x509

from peitho.clients import authority
from peitho.clients.authority import Authority, DamagedAuthorityError, DeliveryCertificate
from peitho.settings.live import Live, Replaceable

NOW = time.time()
DAY = 86_400.0
OURS = Authority.make(NOW)


def shake_hands(server: ssl.SSLContext, host: str, ca: str, *, strict: bool = True) -> None:
    """Shake hands with a server as a Pod does. Raises SSLError."""
    client = ssl.create_default_context(cadata=ca)
    if strict:  # as Python 3.13 and later are
        client.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = client.wrap_bio(to_client, to_server, server_hostname=host)
    there = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (here, there):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert here.version() in ("TLSv1.2", "TLSv1.3")


def leaf(certificate: DeliveryCertificate, pems: list[bytes]) -> x509.Certificate:
    """The certificate that is shown to a new connection; each that is made is noted in a list."""
    certificate.context()
    return x509.load_pem_x509_certificate(pems[-1][pems[-1].index(b"-----BEGIN CERT") :])


@pytest.fixture
def pems(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The certificates that are made, each with its key."""
    made: list[bytes] = []
    issue = Authority.issue

    def noting(self: Authority, hosts: dict[str, None], now: float) -> bytes:
        made.append(issue(self, hosts, now))
        return made[-1]

    monkeypatch.setattr(Authority, "issue", noting)
    return made


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("peitho:8081", "peitho"),
        ("Peitho.fabric.svc:8081", "peitho.fabric.svc"),
        ("peitho.fabric.svc.cluster.local.:8081", "peitho.fabric.svc.cluster.local."),
        ("my_peitho:8081", "my_peitho"),
        ("10.0.0.5:8081", "10.0.0.5"),
        ("[fd00::1]:8081", "fd00::1"),
        ("peithö.example:8081", "peithö.example"),
        ("gateway:443/peitho", "gateway"),
        ("peitho", "peitho"),
    ],
)
def test_who_trusts_the_ca_finds_the_address_that_pods_are_told(address: str, host: str) -> None:
    """
    And no other name or address, nor whoever trusts another CA.
    """
    certificate = DeliveryCertificate(OURS, Live(address))

    shake_hands(certificate.context(), host, OURS.pem)
    for other in ("other", "10.0.0.6", "fd00::2", f"x.{host}"):
        with pytest.raises(ssl.SSLCertVerificationError, match="not valid for"):
            shake_hands(certificate.context(), other, OURS.pem)
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
        shake_hands(certificate.context(), host, Authority.make(NOW).pem)


@pytest.mark.parametrize("address", ["", ":8081", "[:8081", "a..b:1", "x" * 300])
def test_an_address_that_is_none_harms_nobody_but_itself(address: str) -> None:
    """
    There is a certificate, for nobody.
    """
    certificate = DeliveryCertificate(OURS, Live(address))

    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(certificate.context(), "peitho", OURS.pem)


def test_it_is_made_anew_long_before_its_end(pems: list[bytes]) -> None:
    """
    With another key, good for a node whose clock is a day behind, and trusted by Pods of before.
    """
    at = [NOW]
    certificate = DeliveryCertificate(OURS, Live("peitho:8081"), now=lambda: at[0])
    first = leaf(certificate, pems)
    assert NOW - DAY == pytest.approx(first.not_valid_before_utc.timestamp(), abs=1)
    assert NOW + 30 * DAY == pytest.approx(first.not_valid_after_utc.timestamp(), abs=1)

    at[0] += 9.9 * DAY
    assert first == leaf(certificate, pems)
    at[0] += 0.2 * DAY
    second = leaf(certificate, pems)
    assert 2 == len(pems)
    assert first.public_key() != second.public_key()
    assert at[0] + 30 * DAY == pytest.approx(second.not_valid_after_utc.timestamp(), abs=1)
    second.verify_directly_issued_by(OURS.certificate)


def test_a_clock_that_is_set_back_has_it_made_anew(pems: list[bytes]) -> None:
    """
    It would not be good yet.
    """
    at = [NOW]
    certificate = DeliveryCertificate(OURS, Live("peitho:8081"), now=lambda: at[0])
    certificate.context()
    at[0] -= 365 * DAY

    assert leaf(certificate, pems).not_valid_before_utc.timestamp() < at[0]


def test_another_address_is_added_to_its_names() -> None:
    """
    Pods that were told the one of before go on.
    """
    address = Replaceable("peitho:8081")
    certificate = DeliveryCertificate(OURS, address)
    before = certificate.context()
    assert before is certificate.context()
    address.now = "10.0.0.5:8081"

    assert before is not certificate.context()
    for host in ("peitho", "10.0.0.5"):
        shake_hands(certificate.context(), host, OURS.pem)


def test_where_none_can_be_made_the_last_one_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    As where no more files can be opened; it is tried at the next connection.
    """
    at = [NOW]
    certificate = DeliveryCertificate(OURS, Live("peitho:8081"), now=lambda: at[0])
    before = certificate.context()
    at[0] += 11 * DAY

    def refuse(*_: object) -> int:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(os, "memfd_create", refuse)
        assert before is certificate.context()
    assert before is not certificate.context()


def test_the_ca_lasts_for_decades_and_signs_no_other_ca() -> None:
    """
    It is good on a node whose clock is a day behind.
    """
    constraints = OURS.certificate.extensions.get_extension_for_class(x509.BasicConstraints)

    assert (True, 0) == (constraints.value.ca, constraints.value.path_length)
    assert constraints.critical
    assert NOW - DAY == pytest.approx(OURS.certificate.not_valid_before_utc.timestamp(), abs=1)
    years = (OURS.certificate.not_valid_after_utc.timestamp() - NOW) / (365 * DAY)
    assert 30 == pytest.approx(years, abs=0.01)


def test_when_both_end_is_told() -> None:
    """
    Of the certificate that is shown now.
    """
    shown = DeliveryCertificate(OURS, Live("peitho:1"), now=lambda: NOW)
    assert {} == shown.expiries()
    shown.context()

    ends = shown.expiries()
    assert {"delivery", "delivery CA"} == ends.keys()
    assert NOW + 30 * DAY == pytest.approx(ends["delivery"], abs=1)
    assert OURS.certificate.not_valid_after_utc.timestamp() == ends["delivery CA"]


def test_what_was_kept_is_the_same_authority() -> None:
    """
    A restart harms no Pod.
    """
    found = Authority.from_json(OURS.to_json())

    assert OURS.pem == found.pem
    assert OURS.fingerprint == found.fingerprint
    shake_hands(DeliveryCertificate(found, Live("peitho:1")).context(), "peitho", OURS.pem)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "no certificate with its key"),
        (b"[]", "no certificate with its key"),
        (b'{"certificate": "x"}', "no certificate with its key"),
        (b'{"certificate": "x", "key": "y"}', "no certificate with its key"),
        (b'{"certificate": 1, "key": 2}', "no certificate with its key"),
        (OURS.to_json().replace(b"PRIVATE", b"PUBLIC"), "no certificate with its key"),
        (OURS.to_json()[:-20], "no certificate with its key"),
    ],
)
def test_what_is_no_authority_is_told(content: bytes, cause: str) -> None:
    """
    And nothing of it.
    """
    with pytest.raises(DamagedAuthorityError, match=cause) as raised:
        Authority.from_json(content)
    assert "PRIVATE" not in str(raised.value)


def test_a_key_of_another_is_told() -> None:
    """
    It could sign nothing that a Pod believes.
    """
    mixed = Authority(OURS.certificate, Authority.make(NOW).key)

    with pytest.raises(DamagedAuthorityError, match="not that of its certificate"):
        Authority.from_json(mixed.to_json())


def test_a_host_is_read_as_a_client_reads_it() -> None:
    """
    What cannot be read is none.
    """
    assert "peitho" == authority.host_of("PEITHO:8081")
    assert "" == authority.host_of("[:1")
