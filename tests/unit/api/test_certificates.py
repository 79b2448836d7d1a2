from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from peitho.api.certificates import Certificate
from peitho.settings.models import CertificateRule

# As Python's `ssl` tells it of a peer's certificate of Fabric's CA, and of what else one may have.
SHOWN = {
    "subject": (
        (("countryName", "US"),),
        (("organizationName", "Org1"),),
        (("organizationalUnitName", "peer"), ("organizationalUnitName", "lab")),
        (("commonName", "peer0.org1"),),
    ),
    "issuer": ((("organizationName", "Org1, Inc."),), (("commonName", "ca.org1"),)),
    "subjectAltName": (
        ("DNS", "peer0.org1.example"),
        ("IP Address", "10.0.0.1"),
        ("URI", "spiffe://lab/peer0"),
        ("email", "peer0@org1"),
        ("DirName", ((("commonName", "x"),),)),
    ),
}


class Transport:
    """What is known of a connection."""

    def __init__(self, shown: object) -> None:
        self._shown = shown

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """The certificate."""
        return self._shown if name == "peercert" else default

    def is_closing(self) -> bool:
        """It is open."""
        return False


def request(shown: object) -> web.Request:
    """A request on a connection with such a certificate."""
    return make_mocked_request("GET", "/", transport=Transport(shown))


def rule(**fields: str) -> CertificateRule:
    """A rule."""
    return CertificateRule.model_validate(fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"cn": "peer0.org1"},
        {"cn": "peer*.org1", "o": "Org1"},
        {"ou": "peer"},
        {"ou": "lab", "issuer": "ca.org1"},
        {"issuer": r"O=Org1\, Inc.,CN=ca.org1"},
        {"issuer": "*CN=ca.org1"},
        {"san": "peer0.org1.example"},
        {"san": "DNS:peer0.*"},
        {"san": "IP:10.0.0.*"},
        {"san": "URI:spiffe://lab/*"},
        {"san": "email:*@org1"},
        {"san": "spiffe://lab/peer0"},
    ],
)
def test_a_rule_fits_where_all_that_it_says_is_so(fields: dict[str, str]) -> None:
    """
    Of several values of a name, one is enough.
    """
    assert Certificate.of(request(SHOWN)).fits(rule(**fields))


@pytest.mark.parametrize(
    "fields",
    [
        {"cn": "peer0"},
        {"cn": "PEER0.ORG1"},
        {"cn": "*", "o": "Org2"},
        {"cn": "peer0.org1", "ou": "admin"},
        {"o": "peer0.org1"},
        {"ou": "peer,lab"},
        {"san": "URI:peer0.org1.example"},
        {"san": "x"},
        {"issuer": "Org1, Inc."},
        {"issuer": "ca.org1,O=Org1"},
    ],
)
def test_a_rule_does_not_fit_where_one_thing_is_not_so(fields: dict[str, str]) -> None:
    """
    Nor where another name has the value.
    """
    assert not Certificate.of(request(SHOWN)).fits(rule(**fields))


def test_a_value_cannot_be_taken_for_another_name() -> None:
    """
    A comma in it is written as RFC 4514 has it, in the audit trail too.
    """
    shown = {"subject": ((("commonName", "a,O=Org1"),),), "issuer": ((("commonName", "x,CN=y"),),)}
    certificate = Certificate.of(request(shown))

    assert r"CN=a\,O=Org1" == certificate.subject
    assert not certificate.fits(rule(o="Org1"))
    assert not certificate.fits(rule(issuer="CN=x,CN=y"))


def test_one_without_a_subject_is_known_by_its_other_names() -> None:
    """
    SPIFFE's have none.
    """
    shown = {"subject": (), "subjectAltName": (("URI", "spiffe://lab/a"),), "issuer": ()}
    certificate = Certificate.of(request(shown))

    assert ("URI=spiffe://lab/a", True) == (certificate.subject, certificate.is_shown)
    assert certificate.fits(rule(san="URI:spiffe://lab/*"))
    assert not certificate.fits(rule(cn="*"))


@pytest.mark.parametrize("shown", [None, {}])
def test_without_a_certificate_no_rule_fits(shown: object) -> None:
    """
    Not even one that is for any name.
    """
    certificate = Certificate.of(request(shown))

    assert ("", False) == (certificate.subject, certificate.is_shown)
    for name in ("cn", "o", "ou", "san", "issuer"):
        assert not certificate.fits(rule(**{name: "*"}))
    assert not certificate.fits(rule(issuer="*=*"))
